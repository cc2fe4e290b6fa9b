"""One tool call: from its arguments to its combined data."""
