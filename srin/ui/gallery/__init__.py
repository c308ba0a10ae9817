"""The examples that come with the app."""
