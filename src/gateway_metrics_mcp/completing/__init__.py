"""Completions: what an argument may be, by the letters so far."""
