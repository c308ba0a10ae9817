"""A user study in which people choose the more harmonious of two methods' results. The page is in srin/ui."""
