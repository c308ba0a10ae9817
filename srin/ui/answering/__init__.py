"""How requests of the page are answered: read, queued for each visitor, run by a worker."""
