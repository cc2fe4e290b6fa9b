"""What a 24-hour question costs the embedded engine, as a ratio to decoding its columns.

Rows of 30 days are written as `import` writes them. The yardstick is DuckDB decoding the same
columns of the same files with a trivial aggregate, in the same run. Usage:
python benchmarks/engine.py [--rows 10_000_000] [--into DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
import duckdb

from gateway_metrics_mcp.access import LOCAL
from gateway_metrics_mcp.backends.duckdb import DuckDBBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.reading import read_query

MOST_MEDIAN: Final = 3.0
MOST_EACH: Final = 4.5
RUNS: Final = 5
DAYS: Final = 30
FIRST: Final = date(2026, 6, 1)
TABLE: Final = "gateway_model_metrics"
WINDOW: Final = {"startTs": "2026-06-20T00:00:00Z", "endTs": "2026-06-21T00:00:00Z"}

ROWS: Final = """
    SELECT TIMESTAMPTZ '{day} 00:00:00+00' + INTERVAL (i * 86400000.0 / {count}) MILLISECOND
            AS "CreatedAt",
        'provider/model-' || (hash(i) % 24)::INTEGER AS "ModelName",
        CASE WHEN hash(i + 1) % 10 = 0 THEN 'router' END AS "VirtualModelName",
        'subject-' || (hash(i + 2) % 2000)::INTEGER AS "CreatedBySubjectSlug",
        CASE WHEN hash(i + 3) % 4 = 0 THEN 'virtualaccount' ELSE 'user' END
            AS "CreatedBySubjectType",
        [('team-' || (hash(i + 4) % 12)::INTEGER), ('team-' || (hash(i + 5) % 12)::INTEGER)]
            AS "Teams",
        MAP {{'environment': ['production', 'staging', 'dev'][(hash(i + 6) % 3)::INTEGER + 1]}}
            AS "Metadata",
        (hash(i + 7) % 8000)::BIGINT AS "InputTokens",
        (hash(i + 8) % 2000)::BIGINT AS "OutputTokens",
        (hash(i + 9) % 100000) / 1e6 AS "CostInUSD",
        100 + (hash(i + 10) % 900000) / 100.0 AS "LatencyMs",
        hash(i + 11) % 50 = 0 AS "IsFailure"
    FROM range({count}) AS t(i)
"""


def _sum(*columns: str) -> list[dict[str, str]]:
    return [{"type": "sum", "column": column} for column in columns]


def _many(column: str, *types: str) -> list[dict[str, str]]:
    return [{"type": kind, "column": column} for kind in types]


# A question, and the table columns that it reads beside CreatedAt.
QUESTIONS: Final[tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...]] = (
    (
        "cost by model",
        {"groupBy": ["modelName"], "aggregations": _sum("costInUSD", "inputTokens")},
        ("ModelName", "CostInUSD", "InputTokens"),
    ),
    (
        "percentiles by model",
        {"groupBy": ["modelName"], "aggregations": _many("latencyMs", "p50", "p95", "p99")},
        ("ModelName", "LatencyMs"),
    ),
    (
        "cost by team",
        {"groupBy": ["team"], "aggregations": _sum("costInUSD")},
        ("Teams", "CostInUSD"),
    ),
    (
        "tokens by environment",
        {"groupBy": ["metadata.environment"], "aggregations": _sum("outputTokens")},
        ("Metadata", "OutputTokens"),
    ),
    (
        "top users",
        {"groupBy": ["userEmail"], "aggregations": _sum("costInUSD")},
        ("CreatedBySubjectSlug", "CreatedBySubjectType", "CostInUSD"),
    ),
    (
        "hourly cost",
        {"type": "timeseries", "interval": "1 hour", "aggregations": _sum("costInUSD")},
        ("CostInUSD",),
    ),
    (
        "failures of two teams",
        {
            "groupBy": ["modelName"],
            "filters": [
                {"fieldName": "isFailure", "operator": "EQUAL", "value": True},
                {
                    "fieldName": "team",
                    "operator": "ARRAY_HAS_ANY",
                    "value": ["team-1", "team-2"],
                },
            ],
        },
        ("ModelName", "IsFailure", "Teams"),
    ),
    (
        "models alone",
        {
            "aggregations": _sum("costInUSD", "inputTokens", "outputTokens"),
            "filters": [{"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}],
        },
        ("VirtualModelName", "CostInUSD", "InputTokens", "OutputTokens"),
    ),
)


def write_rows(directory: Path, rows: int) -> None:
    """30 days in the layout and the encodings that `import` writes."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        folder = directory / TABLE / f"date={day}"
        folder.mkdir(parents=True)
        query = ROWS.format(day=day, count=rows // DAYS)
        options = "FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, ROW_GROUP_SIZE 122880"
        engine.execute(f"COPY ({query}) TO '{folder}/rows.parquet' ({options})")


def decode(directory: Path, columns: tuple[str, ...]) -> Callable[[], object]:
    """Reads the columns of the window's day, and next to nothing else."""
    engine = duckdb.connect(config={"threads": 2})
    path = str(directory / TABLE / "date=2026-06-20" / "rows.parquet")
    counts = ", ".join(f'count(hash("{column}"))' for column in ("CreatedAt", *columns))
    query = f"SELECT {counts} FROM read_parquet($path)"  # noqa: S608 - ours
    return lambda: engine.execute(query, {"path": path}).fetchall()


async def measure(directory: Path) -> list[float]:
    """The ratio of each question."""
    catalog = load_catalog()
    backend = DuckDBBackend(directory, catalog)
    ratios = []
    for name, question, columns in QUESTIONS:
        body = {"datasource": "modelMetrics", "type": "distribution", **WINDOW, **question}
        query = read_query(body, catalog)
        yardstick = decode(directory, columns)
        asked, decoded = [], []
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            yardstick()
            decoded.append(time.perf_counter() - start)
            start = time.perf_counter()
            await backend.query(query, LOCAL)
            asked.append(time.perf_counter() - start)
        ours, theirs = median(asked[1:]) * 1000, median(decoded[1:]) * 1000
        ratios.append(ours / theirs)
        print(f"{name:24} {ours:7.1f} ms  decoding {theirs:7.1f} ms  ratio {ours / theirs:.2f}")
    await backend.aclose()
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        write_rows(Path(temporary), rows)
        size = sum(file.stat().st_size for file in Path(temporary).rglob("*.parquet"))
        took = time.perf_counter() - start
        print(f"{rows} rows, {size / 1e6:.0f} MB, written in {took:.0f} s")
        ratios = anyio.run(measure, Path(temporary))
    is_good = median(ratios) <= MOST_MEDIAN and max(ratios) <= MOST_EACH
    word = "ok" if is_good else "FAIL"
    print(
        f"{word}: median {median(ratios):.2f} of at most {MOST_MEDIAN}, largest {max(ratios):.2f}"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
