"""The engine of one run: rows read into a database on disk, and written day by day from it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final, TextIO

import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN, quote_identifier
from gateway_metrics_mcp.cli.ingest.mapping import Match, Preset, sql_text
from gateway_metrics_mcp.cli.ingest.prices import Price, find_price
from gateway_metrics_mcp.cli.ingest.sources import REJECTS, SourceFile, select_rows
from gateway_metrics_mcp.errors import EngineError, SettingsError

BROKEN_LINE: Final = "the line: "
_GOOD: Final = '"_verdict" IS NULL'
_LEFT_OUT: Final = "\"_verdict\" = ''"
_REFUSED: Final = "\"_verdict\" <> ''"
_OWN_COLUMNS: Final = {
    "_file": "INTEGER",
    "_row": "BIGINT",
    "_verdict": "TEXT",
    "_refused": "TEXT",
}
# Type of a column -> the macro that reads it, and what a text is that it cannot read.
_READERS: Final = {
    "TEXT": ("read_text", "not text"),
    "TIMESTAMPTZ": ("read_instant", None),
    "INTEGER": ("read_integer", "not a whole number of 32 bits"),
    "BIGINT": ("read_bigint", "not a whole number"),
    "DOUBLE PRECISION": ("read_double", "not a number"),
    "BOOLEAN": ("read_boolean", "not true, false, 0 or 1"),
    "Array(Text)": ("read_list", "not a list"),
    "Map(Text, Text)": ("read_map", "not a JSON object"),
    "Map(Text, Array(Text))": ("read_map_of_lists", "not a JSON object of lists"),
}
# What a row costs, by the price of its model; null where its tokens are not known.
_COST: Final = """
    CASE WHEN "InputTokens" IS NOT NULL OR "OutputTokens" IS NOT NULL THEN
        (coalesce("InputTokens", 0) * input + coalesce("OutputTokens", 0) * output) / 1000000
    END
"""
_ROW_GROUP: Final = 122_880
_VECTOR: Final = 2048  # a row group is a multiple of this many rows
_INTERRUPTED: Final = "Query interrupted"  # what the engine makes of Ctrl-C while it is at work
_PROGRESS_EVERY_S: Final = 0.2
_PROGRESS_WIDTH: Final = 30


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
    """DuckDB on a database in the run's own directory, so that memory is bounded.

    The table `staged` holds every row that was read, good or not; `_verdict` is why it is refused,
    '' if it is left out, and null if it is good. The view `good` has the rows to write.
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
        connection.execute(DuckDialect().create_table("staged", {**_OWN_COLUMNS, **columns}))

    def check_constant(self, column: str, value: str) -> str | None:
        """Why a value of `--set` is not of its column's type; None if it is."""
        macro, fault = _READERS[self._columns[column]]
        statement = f"SELECT {macro}({sql_text(value)})::VARCHAR"
        ((text,),) = self.connection.execute(statement).fetchall()
        if text is not None:
            return None
        return fault or "not an ISO 8601 date and time with an offset"

    def stage(self, number: int, source: SourceFile, match: Match, preset: Preset | None) -> None:
        """Read a file's rows."""
        rows = select_rows(self.connection, source, match.used, preset)
        statement = _stage_file(number, source, rows, match, self._columns, self._table)
        with show_progress(self.connection, f"reading {source.path.name}", self._stream):
            self.connection.execute(statement)
        if source.format == "csv":
            self._stage_rejects(number, source)
        source.check_unchanged()

    def _stage_rejects(self, number: int, source: SourceFile) -> None:
        """Add the lines that are no rows of a CSV file, once each."""
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
        """Decide the price of each model; to be called once, after all files."""
        if not prices:
            self.connection.execute(f"CREATE VIEW good AS SELECT * FROM staged WHERE {_GOOD}")
            return
        self.connection.execute("CREATE TABLE prices (model VARCHAR, input DOUBLE, output DOUBLE)")
        models = 'SELECT DISTINCT "ModelName" FROM staged WHERE "ModelName" IS NOT NULL'
        for (model,) in self.connection.execute(models).fetchall():
            if price := find_price(model, prices):
                row = [model, price.input, price.output]
                self.connection.execute("INSERT INTO prices VALUES (?, ?, ?)", row)
        self.connection.execute(
            f"""
            CREATE VIEW good AS
            SELECT staged.* REPLACE (coalesce("CostInUSD", {_COST}) AS "CostInUSD")
            FROM staged LEFT JOIN prices ON "ModelName" = model WHERE {_GOOD}
            """
        )

    def count(self, file: int | None = None) -> Counts:
        """The rows of a file, or of all."""
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
        """The reasons, the most frequent first."""
        rows = self.connection.execute(
            f"""
            SELECT "_verdict", count(*), min("_file"), arg_min("_row", ("_file", "_row"))
            FROM staged WHERE {_REFUSED} GROUP BY ALL ORDER BY 2 DESC, 1
            """
        ).fetchall()
        return [Refusal(*row) for row in rows]

    def count_costs(self) -> tuple[int, int, list[str]]:
        """How many rows a price gave a cost, how many have none, and their models."""
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

    def write_days(self, folder: Path) -> list[str]:
        """Write the good rows, a file for each UTC day; returns the days."""
        days = self.connection.execute(
            'SELECT ("CreatedAt"::DATE)::VARCHAR, count(*) FROM good GROUP BY 1 ORDER BY 1'
        ).fetchall()
        for n, (day, rows) in enumerate(days, 1):
            target = folder / f"date={day}" / "rows.parquet"
            target.parent.mkdir(parents=True)
            with show_progress(self.connection, f"day {n} of {len(days)}", self._stream):
                self._copy_day(day, target, rows)
        return [day for day, _ in days]

    def _copy_day(self, day: str, target: Path, rows: int) -> None:
        """Write a UTC day's rows in order of time."""
        listed = ", ".join(quote_identifier(name) for name in self._columns)
        start = f"TIMESTAMPTZ '{day} 00:00:00+00'"
        # At least two row groups, so that two threads can read the file.
        half = -(-rows // 2)
        row_group = min(_ROW_GROUP, -(-half // _VECTOR) * _VECTOR)
        self.connection.execute(
            f"""
            COPY (
                SELECT {listed} FROM good
                WHERE "{TIME_COLUMN}" >= {start} AND "{TIME_COLUMN}" < {start} + INTERVAL 1 DAY
                ORDER BY "{TIME_COLUMN}", "_file", "_row"
            ) TO {sql_text(str(target))} (
                FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {row_group}
            )
            """
        )

    def write_refused(self, path: Path) -> None:
        """Write the refused rows, each as a line of JSON."""
        rows = f'SELECT "_refused" FROM staged WHERE {_REFUSED} ORDER BY "_file", "_row"'
        form = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'"
        self.connection.execute(f"COPY ({rows}) TO {sql_text(str(path))} ({form})")


@contextmanager
def open_database(
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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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
            bar = "#" * round(share * _PROGRESS_WIDTH)
            stream.write(f"\r{label} [{bar:<{_PROGRESS_WIDTH}}] {share:4.0%}\x1b[K")
            stream.flush()
            is_over = done.wait(_PROGRESS_EVERY_S)

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
    """The columns that the layout requires, and what fills them where nothing does."""
    defaults: dict[str, str] = json.loads(_read_resource("defaults.json"))[table]
    return defaults


def _read_resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _stage_file(
    number: int, source: SourceFile, rows: str, match: Match, columns: Mapping[str, str], table: str
) -> str:
    """Insert a file's rows; `rows` yields them as text."""
    targets = [name for name in columns if name in match.expressions]
    texts, values, faults = [], [], []
    for n, name in enumerate(targets):
        reader, fault = _READERS[columns[name]]
        text = f"({match.expressions[name]})::VARCHAR"
        texts.append(f"{text if reader == 'read_text' else f'filled({text})'} AS t{n}")
        values.append(f"{reader}(t{n}) AS v{n}")
        why = sql_text(f"{name}: {fault}") if fault else f"'{name}: ' || explain_instant(t{n})"
        faults.append(f"CASE WHEN v{n} IS NULL AND t{n} IS NOT NULL THEN {why} END")
    made = f"v{targets.index(TIME_COLUMN)}"
    faults.append(f"CASE WHEN t{made[1:]} IS NULL THEN '{TIME_COLUMN}: empty' END")
    return f"""
        INSERT INTO staged BY NAME
        WITH source AS ({rows}),
        texts AS (SELECT *, {match.kept} AS is_kept, {", ".join(texts)} FROM source),
        typed AS (SELECT *, {", ".join(values)} FROM texts),
        judged AS (
            SELECT *, CASE
                WHEN is_bad THEN 'the line is not a JSON object'
                WHEN is_kept IS NOT TRUE THEN ''
                ELSE nullif(concat_ws('; ', {", ".join(faults)}), '')
            END AS verdict
            FROM typed
        )
        SELECT
            {number} AS "_file", row AS "_row", verdict AS "_verdict",
            {_refused(source, match)} AS "_refused",
            {_final_values(source, targets, columns, table)}
        FROM judged
    """


def _refused(source: SourceFile, match: Match) -> str:
    """The row as it was, with the reason: what is mended in it can be imported as JSON lines."""
    pairs = "".join(f", {sql_text(name)}, c{n}" for n, name in enumerate(match.used))
    about = f"'_file', {sql_text(source.path.name)}, '_row', row, '_reason', verdict"
    return f"CASE WHEN verdict <> '' THEN json_object({about}{pairs})::VARCHAR END"


def _final_values(
    source: SourceFile, targets: list[str], columns: Mapping[str, str], table: str
) -> str:
    """Each value, or its default where the layout requires one."""
    defaults = column_defaults(table)
    found = []
    for name in columns:
        value = f"v{targets.index(name)}" if name in targets else None
        if name in defaults:
            default = Template(defaults[name]).substitute(row=f"('{source.sha256}:' || row)")
            is_text = columns[name] == "TEXT"
            given = f"nullif({value}, '')" if value and is_text else value
            value = f"coalesce({given}, {default})" if given else default
        if value:
            found.append(f"{value} AS {quote_identifier(name)}")
    return ",\n            ".join(found)
