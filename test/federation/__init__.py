"""Other servers."""
