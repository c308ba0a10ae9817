"""A user study: people choose the more harmonious of two methods' results, again and again. The page is in srin/ui."""
