"""The time of a 24-hour question in the embedded engine: against decoding, and as data grow.

30 days of calls are imported, one run per day. The yardstick is DuckDB decoding the same columns
of the day's file with a trivial aggregate, in the same run. Then the same questions are asked over
3 days against 30, and over 30 files against 3,650. Usage:
python benchmarks/engine.py [--rows 10_000_000] [--data DIR]

10 million rows, as in `make bench`, take two to three minutes, nearly all of it the import; with
few rows the fixed cost of a question outweighs the decoding, and the ratios mean nothing.
`--data` keeps the rows in DIR, or finds them there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import anyio
import duckdb

from engine_rows import DAYS, FIRST, TABLE, prepare
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query

MOST_MEDIAN: Final = 3.0
MOST_EACH: Final = 4.5
MOST_BY_DAYS: Final = 1.3
MOST_BY_FILES: Final = 1.5
RUNS: Final = 11
FILES: Final = 3650
DAY: Final = date(2026, 6, 20)
WINDOW: Final = {"startTs": f"{DAY}T00:00:00Z", "endTs": f"{DAY + timedelta(days=1)}T00:00:00Z"}
QUESTIONS: Final = json.loads(Path(__file__).with_name("engine_questions.json").read_text("utf-8"))
"""Eight questions, each with the columns that it reads besides CreatedAt."""
LENGTHS: Final = {"Metadata": "cardinality", "Teams": "len"}
"""Functions that read a nested column and take less time than a hash of it."""


def link_days(source: Path, target: Path, days: set[date]) -> None:
    """Hard-link the files of these days into another directory."""
    for run in sorted((source / TABLE).iterdir()):
        (folder,) = run.glob("date=*")
        if date.fromisoformat(folder.name.removeprefix("date=")) in days:
            link(folder / "rows.parquet", target / TABLE / run.name / folder.name)


def add_older_days(directory: Path, days: int) -> None:
    """Add runs of earlier days as links to one file: only their names matter here.

    A question must skip them by name without opening them.
    """
    runs = sorted((directory / TABLE).iterdir(), key=lambda run: run.name[-10:])
    first = date.fromisoformat(runs[0].name[-10:])
    (file,) = runs[0].rglob("*.parquet")
    for number in range(1, days + 1):
        day = first - timedelta(days=number)
        made = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
        run = f"import-{made:%Y%m%dT%H%M%SZ}-{number:08x}-{day}-to-{day}"
        link(file, directory / TABLE / run / f"date={day}")


def link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "rows.parquet").hardlink_to(file)


def read_questions(catalog: Catalog) -> list[tuple[str, Query, tuple[str, ...]]]:
    """The name, query and columns of each question."""
    fixed = {"datasource": "modelMetrics", "type": "distribution", **WINDOW}
    return [
        (entry["name"], read_query({**fixed, **entry["question"]}, catalog), tuple(entry["reads"]))
        for entry in QUESTIONS
    ]


def open_decoding(file: Path) -> Callable[[tuple[str, ...]], tuple[float, int]]:
    """A function that decodes columns of a file: its seconds, and the columns' bytes."""
    engine = duckdb.connect(config={"threads": 2})
    sizes = dict(
        engine.execute(
            "SELECT split_part(path_in_schema, ',', 1), sum(total_compressed_size)"
            " FROM parquet_metadata($file) GROUP BY 1",
            {"file": str(file)},
        ).fetchall()
    )

    def decode(columns: tuple[str, ...]) -> tuple[float, int]:
        columns = ("CreatedAt", *columns)
        values = (f'count({LENGTHS.get(c, "hash")}("{c}"))' for c in columns)
        query = f"SELECT {', '.join(values)} FROM read_parquet($file)"  # noqa: S608 - ours
        start = time.perf_counter()
        engine.execute(query, {"file": str(file)}).fetchall()
        return time.perf_counter() - start, sum(int(sizes[column]) for column in columns)

    return decode


async def ask(backend: DuckDBBackend, query: Query) -> float:
    """The seconds that a query takes."""
    start = time.perf_counter()
    await backend.query(query, LOCAL)
    return time.perf_counter() - start


async def measure(directory: Path, rows: int) -> bool:
    """Compare each question with decoding its columns; whether all are within the limits."""
    catalog = load_catalog()
    backend = DuckDBBackend(directory, catalog)
    (file,) = (directory / TABLE).glob(f"*/date={DAY}/rows.parquet")
    decode = open_decoding(file)
    ratios = []
    print(f"{'one day of 30':24}      ms  decoding  ratio  M rows/s   MB/s")
    for name, query, columns in read_questions(catalog):
        asked, decoded, size = [], [], 0
        for _ in range(RUNS + 1):
            seconds, size = decode(columns)
            decoded.append(seconds)
            asked.append(await ask(backend, query))
        # The first round warms the page cache and the engine.
        ours, theirs = median(asked[1:]), median(decoded[1:])
        ratios.append(ours / theirs)
        speed = f"{rows / DAYS / ours / 1e6:9.1f}  {size / ours / 1e6:5.0f}"
        print(f"{name:24} {ours * 1e3:7.1f}  {theirs * 1e3:8.1f}  {ours / theirs:5.2f} {speed}")
    await backend.aclose()
    is_good = median(ratios) <= MOST_MEDIAN and max(ratios) <= MOST_EACH
    print(
        f"{'ok' if is_good else 'FAIL'}: median {median(ratios):.2f} of at most {MOST_MEDIAN},"
        f" largest {max(ratios):.2f} of at most {MOST_EACH}"
    )
    return is_good


async def compare(what: str, small: Path, large: Path, most: float) -> bool:
    """Ask the same questions of less and of more data in turn; whether the total is within it."""
    catalog = load_catalog()
    backends = [DuckDBBackend(directory, catalog) for directory in (small, large)]
    totals = [0.0, 0.0]
    ratios = []
    for _, query, _ in read_questions(catalog):
        times = [[await ask(backend, query) for backend in backends] for _ in range(2 * RUNS)]
        less, more = (median(column[1:]) for column in zip(*times, strict=True))
        totals = [totals[0] + less, totals[1] + more]
        ratios.append(more / less)
    for backend in backends:
        await backend.aclose()
    ratio = totals[1] / totals[0]
    is_good = ratio <= most and median(ratios) <= most
    print(
        f"{'ok' if is_good else 'FAIL'}: {what}: {totals[0] * 1e3:.0f} ms and"
        f" {totals[1] * 1e3:.0f} ms for all eight, ratio {ratio:.2f}, median"
        f" {median(ratios):.2f} of at most {most} (largest {max(ratios):.2f})"
    )
    return is_good


def measure_all(directory: Path, rows: int) -> bool:
    """Run all three comparisons; the other directories hold links to the same files."""
    prepare(directory, rows)
    with tempfile.TemporaryDirectory(dir=directory) as beside:
        every = {FIRST + timedelta(days=number) for number in range(DAYS)}
        near = {DAY + timedelta(days=number) for number in (-1, 0, 1)}
        few, many = Path(beside) / "few", Path(beside) / "many"
        link_days(directory, few, near)
        link_days(directory, many, every)
        add_older_days(many, FILES - DAYS)
        results = [
            anyio.run(measure, directory, rows),
            anyio.run(compare, "3 days and 30", few, directory, MOST_BY_DAYS),
            anyio.run(compare, "30 files and 3,650", directory, many, MOST_BY_FILES),
        ]
    return all(results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, help="where the rows are, or come to stay")
    flags = parser.parse_args()
    with ExitStack() as stack:
        directory = flags.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return 0 if measure_all(directory, flags.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
