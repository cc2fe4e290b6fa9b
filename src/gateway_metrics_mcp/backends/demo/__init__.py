"""Generated data, for trying the server out."""
