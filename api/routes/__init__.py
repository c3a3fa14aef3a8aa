"""One blueprint for each kind of path."""
