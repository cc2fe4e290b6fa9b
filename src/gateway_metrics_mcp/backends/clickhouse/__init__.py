"""A ClickHouse server or cluster, over its HTTP interface."""

__all__ = ["SCHEMES"]

SCHEMES = ("clickhouse://", "clickhouses://")
"""How the address of a server begins."""
