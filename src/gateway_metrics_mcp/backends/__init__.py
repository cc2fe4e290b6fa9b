"""Backends, which answer queries: a remote gateway, DuckDB, ClickHouse, or generated data."""

from gateway_metrics_mcp.backends.base import Backend, Engine, ExaminesTables
from gateway_metrics_mcp.backends.credentials import find_embedded_credentials

__all__ = [
    "Backend",
    "Engine",
    "ExaminesTables",
    "find_embedded_credentials",
]
