"""The page of a user study."""
