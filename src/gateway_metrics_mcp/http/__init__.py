"""HTTP: MCP transports, the metrics API, middleware and graceful shutdown."""
