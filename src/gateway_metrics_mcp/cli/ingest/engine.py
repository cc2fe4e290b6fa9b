"""The engine of one import: reads rows into a table of DuckDB, and writes them day by day.

The database spills what memory cannot hold, and all rows are judged before any is written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final, TextIO
from zoneinfo import ZoneInfo

import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN, quote_identifier
from gateway_metrics_mcp.cli.ingest.days import write_day
from gateway_metrics_mcp.cli.ingest.directory import explain_full
from gateway_metrics_mcp.cli.ingest.identity import OWN_COLUMNS, identify
from gateway_metrics_mcp.cli.ingest.mapping import Match, Preset, sql_text
from gateway_metrics_mcp.cli.ingest.prices import Price, find_price
from gateway_metrics_mcp.cli.ingest.sources import (
    REJECTS,
    FileColumns,
    FileRows,
    SourceFile,
    find_broken_text,
    select_rows,
)
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, LAST_YEAR
from gateway_metrics_mcp.query.time.zone_rules import offset_periods
from gateway_metrics_mcp.runtime.scratch import is_full

if TYPE_CHECKING:
    import duckdb


BROKEN_LINE: Final = "the line: "
_GOOD: Final = '"_verdict" IS NULL'
_LEFT_OUT: Final = "\"_verdict\" = ''"
_REFUSED: Final = "\"_verdict\" <> ''"
# Type of a column -> the macros that parse it, `read_<name>` and `quick_<name>` (reading.sql), and
# the reason if they cannot.
_READERS: Final = {
    "TEXT": ("text", "not text"),
    "TIMESTAMPTZ": ("instant", None),
    "INTEGER": ("integer", "not a whole number of 32 bits"),
    "BIGINT": ("bigint", "not a whole number"),
    "DOUBLE PRECISION": ("double", "not a number"),
    "BOOLEAN": ("boolean", "not true, false, 0 or 1"),
    "Array(Text)": ("list", "not a list"),
    "Map(Text, Text)": ("map", "not a JSON object"),
    "Map(Text, Array(Text))": ("map_of_lists", "not a JSON object of lists"),
}
# The cost of a row by its model's price; null if no token count is known.
_COST: Final = """
    CASE WHEN "InputTokens" IS NOT NULL OR "OutputTokens" IS NOT NULL THEN
        (coalesce("InputTokens", 0) * input + coalesce("OutputTokens", 0) * output) / 1000000
    END
"""
_PROGRESS_WIDTH: Final = 30


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows of a file, or of all files, were read, written, refused and skipped."""

    read: int
    good: int
    refused: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason for refusals, its number of rows, and the first of them."""

    reason: str
    rows: int
    file: int
    row: int


class Engine:
    """DuckDB in memory, of which it spills into the run's directory what goes beyond its limit.

    The table `staged` holds every row that was read. `_verdict` is null for a good row, '' for one
    that the preset skips, else the reason for refusal. The view `good` has the rows without
    one. The view `fresh` has the rows that are written, by default those.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        columns: Mapping[str, str],
        stream: TextIO,
    ) -> None:
        self.connection = connection
        self._table = table
        self._columns = columns
        self._stream = stream
        connection.execute(_read_resource("reading.sql"))
        own = {"_file": "INTEGER", "_row": "BIGINT", "_verdict": "TEXT", "_refused": "TEXT"}
        connection.execute(DuckDialect().create_table("staged", own | dict(columns)))
        for name, type_ in OWN_COLUMNS.items():
            connection.execute(f"ALTER TABLE staged ADD COLUMN {name} {type_}")

    def check_constant(self, column: str, value: str) -> str | None:
        """Why a value of `--set` does not fit its column's type; None if it does."""
        name, fault = _READERS[self._columns[column]]
        statement = f"SELECT read_{name}({sql_text(value)})::VARCHAR"
        ((text,),) = self.connection.execute(statement).fetchall()
        if text is not None:
            return None
        return fault or "not an ISO 8601 date and time with an offset"

    def stage(
        self,
        number: int,
        source: SourceFile,
        columns: FileColumns,
        match: Match,
        preset: Preset | None,
    ) -> None:
        """Read a file's rows into `staged`.

        Raises:
            SettingsError: if the file changed while it was read.
            EngineError: if a column has bytes that are no text.
        """
        wanted = {name: self._columns[target] for target, name in match.by_column.items()}
        rows = select_rows(self.connection, source, columns, match.used, wanted, preset)
        statement = _stage_file(number, source, rows, match, self._columns, self._table)
        with show_progress(self.connection, f"reading {source.path.name}", self._stream):
            self._insert(statement, source, match)
        if source.format == "csv":
            self._stage_rejects(number, source)
        source.check_unchanged()

    def _insert(self, statement: str, source: SourceFile, match: Match) -> None:
        try:
            self.connection.execute(statement)
        except duckdb.InvalidInputException as error:
            if source.format != "parquet" or "UTF8" not in str(error):
                raise
            name = find_broken_text(self.connection, source, match.used)
            raise EngineError(
                f"{source.path}: the column {name} has bytes that are no UTF-8 text;"
                " nothing was imported"
            ) from error

    def _stage_rejects(self, number: int, source: SourceFile) -> None:
        """Add the lines that DuckDB could not parse as CSV, as refused rows."""
        # Grouped by line: DuckDB lists a broken line once for each of its errors.
        about = f"'_file', {sql_text(source.path.name)}, '_line', line, '_reason', reason"
        self.connection.execute(
            f"""
            INSERT INTO staged BY NAME
            SELECT {number} AS "_file", line AS "_row", reason AS "_verdict",
                json_object({about}, '_text', text)::VARCHAR AS "_refused"
            FROM (
                SELECT line, any_value(csv_line) AS text,
                    {sql_text(BROKEN_LINE)} || lower(min(error_type::VARCHAR)) AS reason
                FROM {REJECTS} GROUP BY line
            )
            """
        )
        self.connection.execute(f"DROP TABLE {REJECTS}")
        self.connection.execute("DROP TABLE reject_scans")

    def set_prices(self, prices: tuple[Price, ...]) -> None:
        """Create the view `good`, costs filled in from prices; call once, after all files."""
        if not prices:
            self.connection.execute(
                f'CREATE VIEW good AS SELECT rowid AS "_id", * FROM staged WHERE {_GOOD}'
            )
            return
        self.connection.execute("CREATE TABLE prices (model VARCHAR, input DOUBLE, output DOUBLE)")
        # Patterns are matched in Python, once per model and not per row.
        models = 'SELECT DISTINCT "ModelName" FROM staged WHERE "ModelName" IS NOT NULL'
        for (model,) in self.connection.execute(models).fetchall():
            if price := find_price(model, prices):
                row = [model, price.input, price.output]
                self.connection.execute("INSERT INTO prices VALUES (?, ?, ?)", row)
        self.connection.execute(
            f"""
            CREATE VIEW good AS
            SELECT staged.rowid AS "_id",
                staged.* REPLACE (coalesce("CostInUSD", {_COST}) AS "CostInUSD")
            FROM staged LEFT JOIN prices ON "ModelName" = model WHERE {_GOOD}
            """
        )

    def count(self, file: int | None = None) -> Counts:
        """Count the rows of one file by its number, or of all files."""
        where = "TRUE" if file is None else f'"_file" = {file}'
        (counts,) = self.connection.execute(
            f"""
            SELECT count(*), count(*) FILTER ({_GOOD}), count(*) FILTER ({_REFUSED}),
                count(*) FILTER ({_LEFT_OUT})
            FROM staged WHERE {where}
            """
        ).fetchall()
        return Counts(*counts)

    def refusals(self) -> list[Refusal]:
        """The reasons for refusals, most frequent first."""
        rows = self.connection.execute(
            f"""
            SELECT "_verdict", count(*), min("_file"), arg_min("_row", ("_file", "_row"))
            FROM staged WHERE {_REFUSED} GROUP BY ALL ORDER BY 2 DESC, 1
            """
        ).fetchall()
        return [Refusal(*row) for row in rows]

    def count_costs(self) -> tuple[int, int, list[str]]:
        """How many rows got a cost from a price, how many have none, and their top five models."""
        ((filled, lacking),) = self.connection.execute(
            f"""
            SELECT (SELECT count(*) FROM staged WHERE {_GOOD} AND "CostInUSD" IS NULL) - lacking,
                lacking
            FROM (SELECT count(*) AS lacking FROM good WHERE "CostInUSD" IS NULL)
            """
        ).fetchall()
        models = self.connection.execute(
            """
            SELECT coalesce("ModelName", 'no model') FROM good WHERE "CostInUSD" IS NULL
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 5
            """
        ).fetchall()
        return filled, lacking, [model for (model,) in models]

    def days(self, view: str = "good") -> list[str]:
        """The UTC days of the rows of a view, as `YYYY-MM-DD`."""
        query = f'SELECT DISTINCT ("{TIME_COLUMN}"::DATE)::VARCHAR FROM {view} ORDER BY 1'
        return [day for (day,) in self.connection.execute(query).fetchall()]

    def write_days(self, folder: Path) -> list[str]:
        """Write the rows of `fresh`, one file per UTC day; returns the days as `YYYY-MM-DD`."""
        days = self.days("fresh")
        for n, day in enumerate(days, 1):
            with show_progress(self.connection, f"day {n} of {len(days)}", self._stream):
                write_day(self.connection, "fresh", day, folder, self._table)
        return days

    def write_refused(self, path: Path) -> None:
        """Write the refused rows, one JSON object per line."""
        # As CSV of one column without quoting: DuckDB's JSON format would encode the text again.
        rows = f'SELECT "_refused" FROM staged WHERE {_REFUSED} ORDER BY "_file", "_row"'
        form = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'"
        self.connection.execute(f"COPY ({rows}) TO {sql_text(str(path))} ({form})")


@contextmanager
def open_database(
    directory: Path, *, zone: ZoneInfo | None, memory: str, threads: int
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a run's database in `directory`; `zone` is that of times without an offset.

    Raises:
        SettingsError: if the memory limit or the number of threads is invalid.
        EngineError: if a statement in the block fails: a damaged file, no memory, no disk.
    """
    # No extensions are loaded, and Python variables are no tables: SQL reaches the database and the
    # files it names, nothing else. Spilling stays in the run's directory.
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "threads": threads,
        "temp_directory": str(directory / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    try:
        connection = duckdb.connect(config=config)
    except duckdb.Error as error:
        raise SettingsError(f"--memory or --threads: {_first_line(error)}") from None
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET enable_progress_bar_print = false")
        set_zone(connection, zone)
        yield connection
    except duckdb.OutOfMemoryException:
        raise EngineError(f"{memory} of memory is not enough. Give more with --memory") from None
    except duckdb.Error as error:
        # The run's directory is in the data directory, below its folder of imports at work.
        said = explain_full(directory.parents[1]) if is_full(error) else _first_line(error)
        raise EngineError(said) from error
    except RuntimeError as error:
        if str(error) != "Query interrupted":  # what DuckDB raises for Ctrl-C
            raise
        raise KeyboardInterrupt from None
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@contextmanager
def show_progress(engine: duckdb.DuckDBPyConnection, label: str, stream: TextIO) -> Iterator[None]:
    """Draw a progress bar while a statement runs, if `stream` is a terminal; erased afterwards."""
    if not stream.isatty():
        yield
        return
    # In a thread, because `execute` blocks this one until the statement ends.
    done = threading.Event()

    def draw() -> None:
        is_over = False
        while not is_over:
            share = min(max(engine.query_progress(), 0), 100) / 100
            bar = "#" * round(share * _PROGRESS_WIDTH)
            stream.write(f"\r{label} [{bar:<{_PROGRESS_WIDTH}}] {share:4.0%}\x1b[K")
            stream.flush()
            is_over = done.wait(0.2)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        stream.write("\r\x1b[K")
        stream.flush()


def column_defaults(table: str) -> dict[str, str]:
    """The columns that the layout requires, and the SQL of their defaults."""
    defaults: dict[str, str] = json.loads(_read_resource("defaults.json"))[table]
    return defaults


def _read_resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _stage_file(
    number: int,
    source: SourceFile,
    rows: FileRows,
    match: Match,
    columns: Mapping[str, str],
    table: str,
) -> str:
    """The SQL that inserts a file's rows."""
    targets = [name for name in columns if name in match.expressions]
    read = [_read_target(n, name, columns, rows, match) for n, name in enumerate(targets)]
    made = read[targets.index(TIME_COLUMN)]
    faults = [target for target in read if target.is_fault]
    reasons = [f"CASE WHEN {one.is_fault} THEN {one.reason} END" for one in faults]
    reasons.append(f"CASE WHEN {made.is_empty} THEN '{TIME_COLUMN}: empty' END")
    are_faulty = " OR ".join([*(one.is_fault for one in faults), made.is_empty])
    return f"""
        INSERT INTO staged BY NAME
        WITH source AS ({rows.sql}),
        texts AS (
            SELECT *, {", ".join([f"{match.kept} AS is_kept", *(t for r in read for t in r.texts)])}
            FROM source
        ),
        quick AS (SELECT {", ".join(["*", *(one for r in read for one in r.quick)])} FROM texts),
        typed AS (SELECT *, {", ".join(one.value for one in read)} FROM quick),
        judged AS (
            SELECT *, CASE
                WHEN is_bad THEN 'the line is not a JSON object'
                WHEN is_kept IS NOT TRUE THEN ''
                WHEN {are_faulty} THEN concat_ws('; ', {", ".join(reasons)})
            END AS verdict
            FROM typed
        )
        SELECT
            {number} AS "_file", row AS "_row", verdict AS "_verdict",
            {_refused(source, rows, match)} AS "_refused",
            {identify(table, match, targets)},
            {_final_values(source, targets, columns, table)}
        FROM judged
    """


@dataclass(frozen=True, slots=True)
class _Target:
    """SQL that reads one column of the table, in steps; each step sees what the last one made.

    DuckDB evaluates what is only in a branch of CASE for the rows that take it.
    """

    value: str
    """The typed value `v<n>`; null if there is none, or if it is unreadable."""
    is_empty: str
    is_fault: str = ""
    """Whether it is unreadable; empty if it never is."""
    reason: str = ""
    texts: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


def _read_target(
    n: int, name: str, columns: Mapping[str, str], rows: FileRows, match: Match
) -> _Target:
    reader, fault = _READERS[columns[name]]
    column, text = match.by_column.get(name), match.expressions[name]
    place = None if column is None else match.used.index(column)
    if place is not None:
        text = rows.texts[place]
    reason = sql_text(f"{name}: {fault}") if fault else f"'{name}: ' || explain_instant"
    if column is not None and (value := rows.values.get((column, columns[name]))):
        is_fault = "" if value == f"c{place}" else f"v{n} IS NULL AND c{place} IS NOT NULL"
        reason += "" if fault else f"(filled({text}))"
        return _Target(f"{value} AS v{n}", f"c{place} IS NULL", is_fault, reason)
    texts = (f"({text})::VARCHAR AS t{n}",)
    if reader == "text":
        return _Target(f"t{n} AS v{n}", f"t{n} IS NULL", texts=texts)
    filled = f"filled(t{n})"
    if reader in ("map", "map_of_lists"):
        filled = f"nullif({filled}, 'null')"  # in JSON
    return _Target(
        f"CASE WHEN q{n} IS NOT NULL THEN q{n} ELSE read_{reader}({filled}) END AS v{n}",
        f"{filled} IS NULL",
        f"v{n} IS NULL AND {filled} IS NOT NULL",
        reason if fault else f"{reason}({filled})",
        texts,
        (f"quick_{reader}(t{n}) AS q{n}",),
    )


def _refused(source: SourceFile, rows: FileRows, match: Match) -> str:
    """SQL for a refused row as JSON, with its reason: once fixed, it can be imported again."""
    named = zip(match.used, rows.texts, strict=True)
    pairs = "".join(f", {sql_text(name)}, {text}" for name, text in named)
    about = f"'_file', {sql_text(source.path.name)}, '_row', row, '_reason', verdict"
    return f"CASE WHEN verdict <> '' THEN json_object({about}{pairs})::VARCHAR END"


def _final_values(
    source: SourceFile, targets: list[str], columns: Mapping[str, str], table: str
) -> str:
    """SQL for each column: its value, or a default if the layout requires one."""
    defaults = column_defaults(table)
    found = []
    for name in columns:
        value = f"v{targets.index(name)}" if name in targets else None
        if name in defaults:
            # Ids from content and row number: importing a file again gives the same ids.
            default = Template(defaults[name]).substitute(row=f"('{source.sha256}:' || row)")
            is_text = columns[name] == "TEXT"
            given = f"nullif({value}, '')" if value and is_text else value
            value = f"coalesce({given}, {default})" if given else default
        if value:
            found.append(f"{value} AS {quote_identifier(name)}")
    return ",\n            ".join(found)


# --- local times ---

# No clock is more than a day from UTC, so these hold every local time of the accepted years.
_ZONE_START: Final = datetime(FIRST_YEAR - 1, 11, 1, tzinfo=UTC)
_ZONE_END: Final = datetime(LAST_YEAR + 1, 3, 1, tzinfo=UTC)


def set_zone(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo | None) -> None:
    """Set the variables of `reading.sql`: `zone`, and `periods`, the zone's offsets by month.

    `periods` lists for each month of local time from 1969-12 on the periods of equal offset that
    reach into it: mostly one, two where the clocks change. DuckDB has rules of its own, of another
    version than those by which questions find a day's start (query/time/zone_rules.py).
    """
    connection.execute("SET VARIABLE zone = $zone::VARCHAR", {"zone": zone and zone.key})
    # Without a zone a local time is refused, and UTC is its own zone.
    periods = (
        [] if zone is None or zone.key == "UTC" else offset_periods(zone, _ZONE_START, _ZONE_END)
    )
    connection.execute(
        f"""
        SET VARIABLE periods = (
            WITH period AS (
                SELECT unnest($start::TIMESTAMP[]) AS start, unnest($end::TIMESTAMP[]) AS "end",
                    to_seconds(unnest($seconds::BIGINT[])) AS ahead
            ),
            reaching AS (
                SELECT period, unnest(range(
                    date_trunc('month', start + ahead), "end" + ahead, INTERVAL 1 MONTH
                )) AS month
                FROM period
            ),
            by_month AS (
                SELECT month, list(period ORDER BY period.start) AS periods
                FROM reaching
                WHERE month >= TIMESTAMP '{FIRST_YEAR - 1}-12-01'
                    AND month < TIMESTAMP '{LAST_YEAR + 1}-02-01'
                GROUP BY month
            )
            SELECT list(periods ORDER BY month) FROM by_month
        )
        """,
        {
            "start": [period.start.replace(tzinfo=None) for period in periods],
            "end": [period.end.replace(tzinfo=None) for period in periods],
            "seconds": [round(period.offset.total_seconds()) for period in periods],
        },
    )
