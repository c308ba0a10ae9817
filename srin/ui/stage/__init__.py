"""The canvas on which a visitor cuts out, places and sees the object live."""
