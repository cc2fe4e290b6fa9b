"""Charts: an answer as a picture."""
