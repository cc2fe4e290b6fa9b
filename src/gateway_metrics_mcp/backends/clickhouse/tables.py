"""The recommended DDL of ClickHouse tables, and which stored types fit; run it to print the DDL."""

from __future__ import annotations

import re
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
    "Array(Text)": "Array(LowCardinality(String))",
    "Map(Text, Text)": "Map(LowCardinality(String), String)",
    "Map(Text, Array(Text))": "Map(LowCardinality(String), Array(String))",
}
_OWN_VALUES: Final = dict.fromkeys(
    ("TraceId", "SpanId", "ConversationId", "CreatedBySubject", "RequestPath", "McpServerUrl"),
    "Nullable(String)",
)
"""Texts that differ from row to row, where LowCardinality's dictionary would save nothing."""

_FITTING: Final = {
    "TEXT": r"String",
    "BIGINT": r"U?Int\d+",
    "INTEGER": r"U?Int\d+",
    "DOUBLE PRECISION": r"Float(32|64)|U?Int\d+",
    "BOOLEAN": r"Bool",
    "TIMESTAMPTZ": r"DateTime(64)?(\(.*\))?",
    "Array(Text)": r"Array\(String\)",
    "Map(Text, Text)": r"Map\(String, String\)",
    "Map(Text, Array(Text))": r"Map\(String, Array\(String\)\)",
}
_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\(((?:[^()]|\([^()]*\))*)\)")


def fits(stored: str, published: str) -> bool:
    """Whether a column of ClickHouse's type can be read as the published type."""
    plain = stored
    while (bare := _WRAPPED.sub(r"\1", plain)) != plain:
        plain = bare
    return re.fullmatch(_FITTING[published], plain) is not None


def create_table(table: str, columns: Mapping[str, str]) -> str:
    """The DDL of a table on one server or shard, partitioned by day and ordered by time."""
    width = max(map(len, columns)) + 2
    listed = ",\n".join(
        f"    {quote_identifier(n):<{width}} {_OWN_VALUES.get(n) or _DDL_TYPES[t]}"
        for n, t in columns.items()
    )
    return (
        f"CREATE TABLE {table}\n(\n{listed}\n)\nENGINE = MergeTree\n"
        f"PARTITION BY toYYYYMMDD({TIME_COLUMN})\n"
        f"ORDER BY {TIME_COLUMN}"
    )


if __name__ == "__main__":
    for name, its_columns in published_tables().items():
        sys.stdout.write(f"{create_table(name, its_columns)};\n\n")
