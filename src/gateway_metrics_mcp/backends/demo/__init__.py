"""Generated data, to try the server without a gateway."""
