"""The command `install`: adds this server to an MCP client's configuration file."""
