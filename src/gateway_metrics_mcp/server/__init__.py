"""The MCP server: tools, resources, prompts, completions and the interactive view."""
