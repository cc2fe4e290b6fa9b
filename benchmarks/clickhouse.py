"""Compares what questions over layouts of a ClickHouse table take (`chdb`, in this process).

The same generated rows (engine_rows.py) are loaded into tables as 46278ab recommended them, into
those of today, and into these with projections and columns for metadata keys. Twelve questions are
then asked of each in interleaved rounds, in random order, with the first layout again as the
control. A figure is the median ratio of the rounds with its 95 % interval, of elapsed time, or of
processor time (--cpu), which other programs disturb less. The answers have to be equal to the last
digit.

Usage: python benchmarks/clickhouse.py [--data DIR] [--rows 3_000_000] [--days 30] [--pairs 30]
       [--cpu]
`--data` keeps the rows, or finds them there.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from askers import take_turns
from engine_rows import TABLE
from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import add_projections, create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query import LOCAL
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Query
from store import (
    QUESTIONS,
    Bench,
    Report,
    body_of,
    describe,
    describe_gap,
    find_gap,
    mean_of_ratios,
    prepare_source,
    ratios_of,
)
from timing import LOAD

KEYS: Final = ("environment", "project", "feature", "version")
LAYOUTS: Final = ("46278ab", "sorted", "projections")
CHANCE: Final = random.Random(1)  # noqa: S311 - an order


def create(client: Client, layout: str) -> None:
    """The table of a layout, in a database of its name."""
    table, columns = f'"{layout}".{TABLE}', published_tables()[TABLE]
    client.command(f'CREATE DATABASE "{layout}"')
    whole = create_table(table, columns)
    if layout == "46278ab":
        whole = whole.partition("ORDER BY")[0] + "ORDER BY CreatedAt"
    client.command(whole)
    if layout == "projections":
        client.command(add_projections(table, columns, KEYS))


def fill(client: Client, layout: str, files: list[Path]) -> None:
    """Load the files, one run each, and merge each day's parts."""
    table, start = f'"{layout}".{TABLE}', time.process_time()
    for file in files:
        client.command(f"INSERT INTO {table} SELECT * FROM file('{file}', Parquet) {LOAD}")  # noqa: S608 - ours
    seconds = time.process_time() - start
    client.command(f"OPTIMIZE TABLE {table} FINAL")
    of_layout = f"active AND database = '{layout}' AND table = '{TABLE}'"
    ((rows, size),) = client.query(
        f"SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE {of_layout}"  # noqa: S608 - ours
    ).result_rows
    parts = client.query(
        "SELECT name, sum(rows), sum(bytes_on_disk) FROM system.projection_parts"  # noqa: S608
        f" WHERE {of_layout} GROUP BY 1 ORDER BY 1"
    ).result_rows
    print(
        f"{layout}: {rows} rows, {size / 1e6:.0f} MB, loaded in {seconds:.1f} s of processor time"
    )
    for name, count, bytes_ in parts:
        print(f"  {name}: {rows / count:.0f} times fewer rows, {bytes_ / 1e6:.1f} MB")


def time_query(
    runner: asyncio.Runner, backend: ClickHouseBackend, query: Query, clock: Callable[[], float]
) -> float:
    start = clock()
    runner.run(backend.query(query, LOCAL))
    return clock() - start


def measure(
    bench: Bench, backends: dict[str, ClickHouseBackend], clock: Callable[[], float]
) -> bool:
    """Ask each layout each question over each window; whether all answers are equal."""
    catalog, are_equal = load_catalog(), True
    first, *others = LAYOUTS
    with asyncio.Runner() as runner:
        for window in (bench.windows()[0], *bench.windows()[2:]):
            head = "  ".join(f"{name + ', times faster':25}" for name in (*others, "control"))
            print(f"\n{window.name:30} {first} ms  {head}  answers")
            found: dict[str, list[list[float]]] = {name: [] for name in (*others, "control")}
            for question in QUESTIONS:
                query = read_query(body_of(question, window), catalog)

                def show(name: str, query: Query = query) -> dict[str, Any]:
                    return {"rows": runner.run(backends[name].query(query, LOCAL)).rows(query)}

                gaps = [find_gap(show(first), show(name)) for name in others]
                gap = None if None in gaps else max(gap for gap in gaps if gap is not None)
                are_equal &= gap == 0
                asks = {
                    name: lambda backend=backend, query=query: time_query(
                        runner, backend, query, clock
                    )
                    for name, backend in {**backends, "control": backends[first]}.items()
                }
                taken = take_turns(asks, bench.pairs, CHANCE)
                for name, ratios in found.items():
                    ratios.append(ratios_of(taken, first, name))
                line = "  ".join(f"{describe(ratios[-1]):25}" for ratios in found.values())
                milliseconds = median(taken[first]) * 1e3
                print(
                    f"{question:30} {milliseconds:10.1f}  {line}  {describe_gap(gap)}", flush=True
                )
            for name, ratios in found.items():
                print(f"geometric mean, {name}: {describe(mean_of_ratios(ratios))}")
    return are_equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where the rows are, or come to stay")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--cpu", action="store_true", help="processor time, not elapsed time")
    flags = parser.parse_args()
    with ExitStack() as stack:
        data = flags.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.mkdir(parents=True, exist_ok=True)
        bench = Bench(
            data.resolve(),
            flags.rows,
            flags.days,
            flags.pairs,
            "2GB",
            None,
            None,
            (),
            Report(False),
        )
        files = prepare_source(bench)
        client = clickhouse_connect.get_client(dsn="chdb://memory")
        client.set_client_setting("use_query_condition_cache", "0")
        backends = {}
        for layout in LAYOUTS:
            create(client, layout)
            fill(client, layout, files)
            url = f"clickhouse://reader@127.0.0.1/{layout}"
            backends[layout] = ClickHouseBackend(
                url, load_catalog(), connect=lambda: client, timeout_s=600
            )
        return (
            0
            if measure(bench, backends, time.process_time if flags.cpu else time.perf_counter)
            else 1
        )


if __name__ == "__main__":
    sys.exit(main())
