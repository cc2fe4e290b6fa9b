"""Backends, which answer queries: a remote gateway, DuckDB, ClickHouse, or generated data."""

from gateway_metrics_mcp.backends.address import find_embedded_credentials
from gateway_metrics_mcp.backends.base import Backend, Engine

__all__ = [
    "Backend",
    "Engine",
    "find_embedded_credentials",
]
