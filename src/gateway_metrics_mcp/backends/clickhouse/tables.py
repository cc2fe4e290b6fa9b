"""The recommended DDL of ClickHouse tables; run it to print the DDL."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN, published_tables, quote_identifier

_DDL_TYPES: Final = {
    "TEXT": "LowCardinality(Nullable(String))",
    "BIGINT": "Nullable(Int64)",
    "INTEGER": "Nullable(Int32)",
    "DOUBLE PRECISION": "Nullable(Float64)",
    "BOOLEAN": "Nullable(Bool)",
    "TIMESTAMPTZ": "DateTime64(6, 'UTC')",
    # What is in a list or map may be null, which would otherwise become an empty text (R5, R6).
    "Array(Text)": "Array(LowCardinality(Nullable(String)))",
    "Map(Text, Text)": "Map(LowCardinality(String), Nullable(String))",
    "Map(Text, Array(Text))": "Map(LowCardinality(String), Array(Nullable(String)))",
}
_OWN_VALUES: Final = dict.fromkeys(
    ("TraceId", "SpanId", "ConversationId", "CreatedBySubject", "RequestPath", "McpServerUrl"),
    "Nullable(String)",
)
"""Texts that differ from row to row, where LowCardinality's dictionary would save nothing."""
_HAS_TIME: Final = (
    f'CONSTRAINT "{TIME_COLUMN}_is_given" CHECK toYear({TIME_COLUMN}) BETWEEN 1971 AND 2199'
)
"""Refuses rows whose time the load did not find or read: they would be of 1970, or of 9999."""


def create_table(table: str, columns: Mapping[str, str]) -> str:
    """The DDL of a table on one server or shard, partitioned by day and ordered by time."""
    width = max(map(len, columns)) + 2
    listed = ",\n".join(
        f"    {quote_identifier(n):<{width}} {_OWN_VALUES.get(n) or _DDL_TYPES[t]}"
        for n, t in columns.items()
    )
    return (
        f"CREATE TABLE {table}\n(\n{listed},\n    {_HAS_TIME}\n)\nENGINE = MergeTree\n"
        f"PARTITION BY toYYYYMMDD({TIME_COLUMN})\n"
        f"ORDER BY {TIME_COLUMN}"
    )


if __name__ == "__main__":
    for name, its_columns in published_tables().items():
        sys.stdout.write(f"{create_table(name, its_columns)};\n\n")
