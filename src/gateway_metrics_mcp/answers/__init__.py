"""A result -> the text a model reads (small, unambiguous, every sum computed by us)."""
