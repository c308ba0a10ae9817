"""What all components of a page share: how one is made, and the look."""
