"""One tool call: from its arguments to a report, the combined data; rendering/ writes it."""
