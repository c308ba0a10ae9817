"""The server around the page: start, endpoints, guards."""
