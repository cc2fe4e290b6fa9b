"""The engine of one run: rows read into a database on disk, and written day by day from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import duckdb

from gateway_metrics_mcp.cli.ingest.mapping import Match, Preset
from gateway_metrics_mcp.cli.ingest.prices import Price, find_price
from gateway_metrics_mcp.cli.ingest.sources import REJECTS, SourceFile, find_columns, select_rows
from gateway_metrics_mcp.cli.ingest.statements import (
    GOOD,
    LEFT_OUT,
    REFUSED,
    STAGED,
    copy_day,
    create_good,
    create_staged,
    read_constant,
    reading_macros,
    stage_file,
    stage_rejects,
)
from gateway_metrics_mcp.errors import EngineError, SettingsError

_EVERY_S: Final = 0.2
_WIDTH: Final = 30


@contextmanager
def show_progress(engine: duckdb.DuckDBPyConnection, label: str, stream: TextIO) -> Iterator[None]:
    """Draw the share of the statement at work, on a terminal alone; wiped out afterwards."""
    if not stream.isatty():
        yield
        return
    done = threading.Event()

    def draw() -> None:
        is_over = False
        while not is_over:
            share = min(max(engine.query_progress(), 0), 100) / 100
            bar = "#" * round(share * _WIDTH)
            stream.write(f"\r{label} [{bar:<{_WIDTH}}] {share:4.0%}\x1b[K")
            stream.flush()
            is_over = done.wait(_EVERY_S)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        stream.write("\r\x1b[K")
        stream.flush()


_ROW_GROUP: Final = 122_880
_VECTOR: Final = 2048
"""A row group is a multiple of this many rows."""
_INTERRUPTED: Final = "Query interrupted"
"""What the engine makes of Ctrl-C while it is at work."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the rows of a file, or of all."""

    read: int
    good: int
    refused: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason, how many rows it refused, and where the first is."""

    reason: str
    rows: int
    file: int
    row: int


class Engine:
    """DuckDB on a database in the run's own directory, so that memory is bounded."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        columns: Mapping[str, str],
        stream: TextIO,
    ) -> None:
        self._connection = connection
        self._table = table
        self._columns = columns
        self._stream = stream
        connection.execute(reading_macros())
        connection.execute(create_staged(columns))

    def columns_of(self, source: SourceFile, preset: Preset | None) -> tuple[str, ...]:
        """The columns that a file has."""
        return find_columns(self._connection, source, preset)

    def can_read(self, type_: str, value: str) -> bool:
        """Whether a value of `--set` is of a column's type."""
        ((text,),) = self._connection.execute(read_constant(type_, value)).fetchall()
        return text is not None

    def stage(self, number: int, source: SourceFile, match: Match, preset: Preset | None) -> None:
        """Read a file's rows."""
        rows = select_rows(self._connection, source, match.used, preset)
        statement = stage_file(number, source, rows, match, self._columns, self._table)
        with show_progress(self._connection, f"reading {source.path.name}", self._stream):
            self._connection.execute(statement)
        if source.format == "csv":
            self._connection.execute(stage_rejects(number, source))
            self._connection.execute(f"DROP TABLE {REJECTS}")
            self._connection.execute("DROP TABLE reject_scans")
        source.check_unchanged()

    def set_prices(self, prices: tuple[Price, ...]) -> None:
        """Decide the price of each model; to be called once, after all files."""
        if prices:
            self._connection.execute(
                "CREATE TABLE prices (model VARCHAR, input DOUBLE, output DOUBLE)"
            )
            models = f'SELECT DISTINCT "ModelName" FROM {STAGED} WHERE "ModelName" IS NOT NULL'
            for (model,) in self._connection.execute(models).fetchall():
                if price := find_price(model, prices):
                    row = [model, price.input, price.output]
                    self._connection.execute("INSERT INTO prices VALUES (?, ?, ?)", row)
        self._connection.execute(create_good(is_priced=bool(prices)))

    def count(self, file: int | None = None) -> Counts:
        """The rows of a file, or of all."""
        where = "TRUE" if file is None else f'"_file" = {file}'
        (counts,) = self._connection.execute(
            f"""
            SELECT count(*), count(*) FILTER ({GOOD}), count(*) FILTER ({REFUSED}),
                count(*) FILTER ({LEFT_OUT})
            FROM {STAGED} WHERE {where}
            """
        ).fetchall()
        return Counts(*counts)

    def refusals(self) -> list[Refusal]:
        """The reasons, the most frequent first."""
        rows = self._connection.execute(
            f"""
            SELECT "_verdict", count(*), min("_file"), arg_min("_row", ("_file", "_row"))
            FROM {STAGED} WHERE {REFUSED} GROUP BY ALL ORDER BY 2 DESC, 1
            """
        ).fetchall()
        return [Refusal(*row) for row in rows]

    def count_costs(self) -> tuple[int, int, list[str]]:
        """How many rows a price gave a cost, how many have none, and their models."""
        ((filled, lacking),) = self._connection.execute(
            f"""
            SELECT (SELECT count(*) FROM {STAGED} WHERE {GOOD} AND "CostInUSD" IS NULL) - lacking,
                lacking
            FROM (SELECT count(*) AS lacking FROM good WHERE "CostInUSD" IS NULL)
            """
        ).fetchall()
        models = self._connection.execute(
            """
            SELECT coalesce("ModelName", 'no model') FROM good WHERE "CostInUSD" IS NULL
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 5
            """
        ).fetchall()
        return filled, lacking, [model for (model,) in models]

    def write_days(self, folder: Path) -> list[str]:
        """Write the good rows, a file for each UTC day; returns the days."""
        days = self._connection.execute(
            'SELECT ("CreatedAt"::DATE)::VARCHAR, count(*) FROM good GROUP BY 1 ORDER BY 1'
        ).fetchall()
        for n, (day, rows) in enumerate(days, 1):
            target = folder / f"date={day}" / "rows.parquet"
            target.parent.mkdir(parents=True)
            statement = copy_day(self._columns, day, str(target), _row_group(rows))
            with show_progress(self._connection, f"day {n} of {len(days)}", self._stream):
                self._connection.execute(statement)
        return [day for day, _ in days]

    def write_refused(self, path: Path) -> None:
        """Write the refused rows, each as a line of JSON."""
        rows = f'SELECT "_refused" FROM {STAGED} WHERE {REFUSED} ORDER BY "_file", "_row"'
        form = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'"
        self._connection.execute(f"COPY ({rows}) TO '{_quote(path)}' ({form})")


@contextmanager
def open_engine(
    directory: Path, *, zone: str | None, memory: str, threads: int
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of a run; it writes nowhere but in the run's directory.

    Raises:
        SettingsError: if memory or threads cannot be taken.
        EngineError: if a statement in the block fails: a damaged file, no memory, no disk.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "threads": threads,
        "temp_directory": str(directory / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    try:
        connection = duckdb.connect(str(directory / "rows.duckdb"), config=config)
    except duckdb.Error as error:
        raise SettingsError(f"--memory or --threads: {_first_line(error)}") from None
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET enable_progress_bar_print = false")
        connection.execute("SET VARIABLE zone = $zone::VARCHAR", {"zone": zone})
        yield connection
    except duckdb.OutOfMemoryException:
        raise EngineError(f"{memory} of memory do not suffice. Give more with --memory") from None
    except duckdb.Error as error:
        raise EngineError(_first_line(error)) from error
    except RuntimeError as error:
        if str(error) != _INTERRUPTED:
            raise
        raise KeyboardInterrupt from None
    finally:
        connection.close()


def _row_group(rows: int) -> int:
    """At least two in a file, so that two threads can read it, as far as a vector can be split."""
    half = -(-rows // 2)
    return min(_ROW_GROUP, -(-half // _VECTOR) * _VECTOR)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _quote(path: Path) -> str:
    return str(path).replace("'", "''")
