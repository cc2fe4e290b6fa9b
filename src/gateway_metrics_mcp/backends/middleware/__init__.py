"""What stands before a backend: cache, single-flight, limits, retries, metrics."""
