"""Methods side by side, what explains them, and downloads."""
