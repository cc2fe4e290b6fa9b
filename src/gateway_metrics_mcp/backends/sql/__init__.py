"""Queries as SQL, for any engine."""
