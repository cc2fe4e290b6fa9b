"""An MCP server that answers questions about an LLM gateway's metrics."""

__all__ = ["__version__"]

__version__ = "0.1.0"
