"""Far sides for the tests: servers that nobody here wrote, and a network between that can fail."""
