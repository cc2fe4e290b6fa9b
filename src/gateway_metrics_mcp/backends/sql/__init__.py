"""Compiles queries to SQL for any engine; runs none."""
