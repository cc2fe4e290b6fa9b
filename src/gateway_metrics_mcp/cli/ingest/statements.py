"""SQL that reads one file into the table `staged`: typed values, and a verdict on each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Final

from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.sql.dialect import quote_identifier
from gateway_metrics_mcp.backends.sql.tables import TIME_COLUMN
from gateway_metrics_mcp.cli.ingest.mapping import Match, sql_text
from gateway_metrics_mcp.cli.ingest.sources import REJECTS, SourceFile

STAGED: Final = "staged"
GOOD: Final = '"_verdict" IS NULL'
LEFT_OUT: Final = "\"_verdict\" = ''"
REFUSED: Final = "\"_verdict\" <> ''"
BROKEN_LINE: Final = "the line: "
NO_OBJECT: Final = "the line is not a JSON object"

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


def reading_macros() -> str:
    """The macros that all of this is made of."""
    return resources.files(__package__).joinpath("reading.sql").read_text("utf-8")


def column_defaults(table: str) -> dict[str, str]:
    """The columns that the layout requires, and what fills them where nothing does."""
    text = resources.files(__package__).joinpath("defaults.json").read_text("utf-8")
    defaults: dict[str, str] = json.loads(text)[table]
    return defaults


def create_staged(columns: Mapping[str, str]) -> str:
    """The table of rows read, good or not."""
    own = {"_file": "INTEGER", "_row": "BIGINT", "_verdict": "TEXT", "_refused": "TEXT"}
    return DuckDialect().create_table(STAGED, {**own, **columns})


def read_constant(type_: str, value: str) -> str:
    """A statement with a value of `--set`, read; null if it is not of the type."""
    return f"SELECT {_READERS[type_][0]}({sql_text(value)})::VARCHAR"


def explain_type(type_: str) -> str:
    """What a text is that is not of the type."""
    return _READERS[type_][1] or "not an ISO 8601 date and time with an offset"


def stage_file(
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
        INSERT INTO {STAGED} BY NAME
        WITH source AS ({rows}),
        texts AS (SELECT *, {match.kept} AS is_kept, {", ".join(texts)} FROM source),
        typed AS (SELECT *, {", ".join(values)} FROM texts),
        judged AS (
            SELECT *, CASE
                WHEN is_bad THEN {sql_text(NO_OBJECT)}
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


def stage_rejects(number: int, source: SourceFile) -> str:
    """Insert the lines that are no rows of a CSV file, once each."""
    about = f"'_file', {sql_text(source.path.name)}, '_line', line, '_reason', reason"
    return f"""
        INSERT INTO {STAGED} BY NAME
        SELECT {number} AS "_file", line AS "_row", reason AS "_verdict",
            json_object({about}, '_text', text)::VARCHAR AS "_refused"
        FROM (
            SELECT line, any_value(csv_line) AS text,
                {sql_text(BROKEN_LINE)} || lower(min(error_type::VARCHAR)) AS reason
            FROM {REJECTS} GROUP BY line
        )
    """


def create_good(*, is_priced: bool) -> str:
    """The view `good` of the rows to write; a price fills the cost that a row lacks."""
    if not is_priced:
        return f"CREATE VIEW good AS SELECT * FROM {STAGED} WHERE {GOOD}"
    cost = """
        CASE WHEN "InputTokens" IS NOT NULL OR "OutputTokens" IS NOT NULL THEN
            (coalesce("InputTokens", 0) * input + coalesce("OutputTokens", 0) * output) / 1000000
        END
    """
    return f"""
        CREATE VIEW good AS
        SELECT {STAGED}.* REPLACE (coalesce("CostInUSD", {cost}) AS "CostInUSD")
        FROM {STAGED} LEFT JOIN prices ON "ModelName" = model WHERE {GOOD}
    """


def copy_day(columns: Mapping[str, str], day: str, path: str, row_group: int) -> str:
    """Write a UTC day's rows in order of time."""
    listed = ", ".join(quote_identifier(name) for name in columns)
    start = f"TIMESTAMPTZ '{day} 00:00:00+00'"
    return f"""
        COPY (
            SELECT {listed} FROM good
            WHERE "{TIME_COLUMN}" >= {start} AND "{TIME_COLUMN}" < {start} + INTERVAL 1 DAY
            ORDER BY "{TIME_COLUMN}", "_file", "_row"
        ) TO {sql_text(path)} (
            FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {row_group}
        )
    """
