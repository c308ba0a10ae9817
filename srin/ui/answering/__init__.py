"""How the page's requests are answered: read, put in a queue for each visitor, and run by a worker."""
