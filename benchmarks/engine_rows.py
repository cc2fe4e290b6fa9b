"""The generated calls that benchmarks import and ask about, and a check that they are honest.

Columns that depend on one another make a benchmark flatter or harder than real data: rows that all
fail alike, or caches that always hit, compress and group too well. So `check` refuses rows whose
values are not drawn independently, or that lack a value or a combination.
Usage: python benchmarks/engine_rows.py [--rows 10_000_000] DIR
generates 30 days, imports them into DIR unless it has some, and checks them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from itertools import combinations
from math import sqrt
from pathlib import Path
from string import Template
from typing import Final

import duckdb

DAYS: Final = 30
FIRST: Final = date(2026, 6, 1)
TABLE: Final = "gateway_model_metrics"
ROWS: Final = Template(Path(__file__).with_suffix(".sql").read_text("utf-8"))
"""SQL that generates the calls of a day."""
CHECKED: Final = 300_000
FEWEST: Final = 50_000
"""Rows that tell: with fewer, a correlation of 0.02 or a rare combination is chance."""
MOST_CORRELATED: Final = 0.02
ERRORS: Final = 5
"""Standard errors that a correlation may reach where few rows have both values."""
MOST_SHOWN: Final = 12
NUMBERS: Final = {
    "time": 'epoch_us("CreatedAt")',
    "model": """ln(regexp_extract("ModelName", '[0-9]+$')::INTEGER)""",
    "subject": """ln(regexp_extract("CreatedBySubjectSlug", '[0-9]+')::INTEGER)""",
    "is failed": '"IsFailure"',
    "is streamed": '"Streaming"',
    "is routed": '"VirtualModelName" IS NOT NULL',
    "attempt": '"VirtualModelTargetAttempt"',
    "input tokens": 'ln("InputTokens" + 1)',
    "output tokens": 'CASE WHEN NOT "IsFailure" THEN ln("OutputTokens" + 1) END',
    "latency": 'ln("LatencyMs")',
    "first token": '"TimeToFirstTokenMs" / "LatencyMs"',
    "token latency": 'ln("InterTokenLatencyMs")',
    "in a conversation": '"ConversationId" IS NOT NULL',
    "is embedding": "\"RequestType\" = 'Embedding'",
    "has a cost": '"CostInUSD" IS NOT NULL',
    "status of failures": 'CASE WHEN "IsFailure" THEN "HttpStatusCode" END',
    "error type": "CASE \"ErrorType\" WHEN 'rate_limit' THEN 0 WHEN 'timeout' THEN 1"
    " WHEN 'bad_request' THEN 2 END",
    "cache lookup": '"CacheLookupStatus" IS NOT NULL',
    "cache hit": "\"CacheLookupStatus\" = 'hit'",
    "metadata keys": 'cardinality("Metadata")',
    "environment": "CASE \"Metadata\"['environment'] WHEN 'dev' THEN 0 WHEN 'staging' THEN 1"
    " WHEN 'production' THEN 2 END",
    "project": "ln(\"Metadata\"['project'][9:]::INTEGER)",
    "feature": "ln(\"Metadata\"['feature'][9:]::INTEGER)",
    "version": "ln(\"Metadata\"['version'][3:]::INTEGER)",
}
"""Each value that is drawn, as a number: none of them may tell another."""
PRESENT: Final = {
    "cache lookup statuses": ('count(DISTINCT "CacheLookupStatus")', 2, 2),
    "error types with HTTP statuses": (
        'count(DISTINCT "ErrorType" || "HttpStatusCode")',
        12,
        12,
    ),
    "request types": ('count(DISTINCT "RequestType")', 2, 2),
    "models with environments": (
        'count(DISTINCT "ModelName" || "Metadata"[\'environment\'])',
        72,
        72,
    ),
    "models with cache lookup statuses": (
        'count(DISTINCT "ModelName" || "CacheLookupStatus")',
        48,
        48,
    ),
    "sets of metadata keys": ('count(DISTINCT map_keys("Metadata"))', 5, 5),
    "teams": ('len(list_distinct(flatten(array_agg("Teams"))))', 12, 12),
    "teams of a subject": ('count(DISTINCT len("Teams"))', 4, 4),
    "kinds of subject": ('count(DISTINCT "CreatedBySubjectType")', 2, 2),
    "share of failures": ('avg("IsFailure"::INTEGER)', 0.027, 0.033),
    "share of lookups": ('avg(("CacheLookupStatus" IS NOT NULL)::INTEGER)', 0.19, 0.21),
    "share of hits": ("avg((\"CacheLookupStatus\" = 'hit')::INTEGER)", 0.31, 0.36),
    "share of streams": ('avg("Streaming"::INTEGER)', 0.59, 0.61),
    "share of routed calls": ('avg(("VirtualModelName" IS NOT NULL)::INTEGER)', 0.09, 0.11),
    "share with a cost": ('avg(("CostInUSD" IS NOT NULL)::INTEGER)', 0.965, 0.975),
}
"""What the rows have to hold: SQL, and the least and the most that it may give."""


def write_calls(path: Path, day: date, rows: int) -> None:
    """Write the calls of a day as one Parquet file, in the vendor's columns."""
    values = {"start": f"{day} 00:00:00+00", "seed": day.toordinal(), "count": rows, "path": path}
    with duckdb.connect(config={"threads": 2}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(ROWS.substitute(values))


def import_file(source: Path, into: Path, python: str = sys.executable) -> float:
    """Import a file with a build's own command, as a nightly job would; the seconds it takes."""
    command = [python, "-m", "gateway_metrics_mcp", "import", str(source), "--into", str(into)]
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - ours
        [*command, "--strict", "--memory", "4GB"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return time.perf_counter() - start


def import_days(into: Path, first: date, days: int, rows_per_day: int) -> None:
    """Import each day in a run of its own."""
    for number in range(days):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "calls.parquet"
            write_calls(source, first + timedelta(days=number), rows_per_day)
            import_file(source, into)


def prepare(directory: Path, rows: int) -> None:
    """Generate, import and check the rows, unless they exist: then check them."""
    if not (directory / TABLE).is_dir():
        start = time.perf_counter()
        import_days(directory, FIRST, DAYS, rows // DAYS)
        took = time.perf_counter() - start
        print(f"generated and imported in {took:.0f} s: {rows / took:.0f} rows/s")
    files = sorted((directory / TABLE).rglob("rows.parquet"))
    check(files)
    size = sum(file.stat().st_size for file in (directory / TABLE).rglob("*.parquet"))
    print(f"{rows} rows, {size / 1e6:.0f} MB, {size / rows:.1f} bytes a row")


def check(files: list[Path]) -> None:
    """Check the first rows of the files; fewer than 50,000 tell nothing.

    Raises:
        SystemExit: if values depend on one another, or one is missing.
    """
    with duckdb.connect(config={"threads": 2}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        count = _sample(engine, files)
        if count < FEWEST:
            print(f"{count} rows are too few to check whether they are drawn independently")
            return
        faults = [*_find_correlated(engine), *_find_missing(engine)]
    if faults:
        shown = "\n  ".join(faults[:MOST_SHOWN])
        raise SystemExit(f"{len(faults)} faults: the rows are no honest yardstick\n  {shown}")
    pairs = len(NUMBERS) * (len(NUMBERS) - 1) // 2
    print(f"ok: {pairs} pairs of values uncorrelated, every combination present ({count} rows)")


def _sample(engine: duckdb.DuckDBPyConnection, files: list[Path]) -> int:
    """Load as many whole files as it takes; the number of rows."""
    count, taken = 0, []
    for file in map(str, files):
        taken.append(file)
        count += engine.read_parquet(file).count("*").fetchall()[0][0]
        if count >= CHECKED:
            break
    engine.execute(
        "CREATE TEMP TABLE calls AS SELECT * FROM"
        " read_parquet($files, hive_partitioning = false, union_by_name = true)",
        {"files": taken},
    )
    return count


def _find_correlated(engine: duckdb.DuckDBPyConnection) -> list[str]:
    """The pairs of values of which one tells something of the other."""
    columns = ", ".join(f'({number})::DOUBLE AS "{name}"' for name, number in NUMBERS.items())
    engine.execute(f"CREATE TEMP TABLE numbers AS SELECT {columns} FROM calls")  # noqa: S608 - ours
    pairs = list(combinations(NUMBERS, 2))
    asked = ", ".join(f'corr("{a}", "{b}"), regr_count("{a}", "{b}")' for a, b in pairs)
    (found,) = engine.execute(f"SELECT {asked} FROM numbers").fetchall()  # noqa: S608 - ours
    return [
        f"{one} and {other} are correlated: {size:.3f}"
        for (one, other), size, count in zip(pairs, found[::2], found[1::2], strict=True)
        # Not a number if one is the same in all rows that have the other, as failures of errors.
        if abs(size or 0) > max(MOST_CORRELATED, ERRORS / sqrt(count or 1))
    ]


def _find_missing(engine: duckdb.DuckDBPyConnection) -> list[str]:
    """The values and combinations that are not there as often as they should be."""
    asked = ", ".join(sql for sql, _, _ in PRESENT.values())
    (found,) = engine.execute(f"SELECT {asked} FROM calls").fetchall()  # noqa: S608 - ours
    return [
        f"{name}: {value:g} instead of {least:g} to {most:g}"
        for (name, (_, least, most)), value in zip(PRESENT.items(), found, strict=True)
        if not least <= value <= most
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the rows are, or come to stay")
    parser.add_argument("--rows", type=int, default=10_000_000)
    flags = parser.parse_args()
    prepare(flags.directory, flags.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
