"""The interactive view of an answer, for hosts that show MCP Apps."""
