"""The published tables in ClickHouse: their DDL, and other types read as theirs, exactly or not.

Run it to print the DDL; with metadata keys as arguments, also that of their columns.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gateway_metrics_mcp.backends.clickhouse.dialect import HOUR, ClickHouseDialect
from gateway_metrics_mcp.backends.sql.dialect import (
    INTEGERS,
    METADATA_COLUMN,
    SLUG_COLUMN,
    SUBJECT_TYPE_COLUMN,
    TEAMS_COLUMN,
    TIME_COLUMN,
    published_tables,
    quote_identifier,
)
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query import Result

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
_LABELS: Final = {
    "gateway_model_metrics": (
        *("ModelName", "VirtualModelName", "RequestType", "ProviderAccountType"),
        *("ProviderModelName", "IsFailure", "ErrorType", "HttpStatusCode", "CacheLookupStatus"),
    ),
    "gateway_mcp_metrics": ("McpServerName", "PrimitiveName", "Method"),
    "gateway_guardrail_metrics": ("GuardrailName", "GuardrailResult", "AppliedOnEntityScope"),
    "gateway_config_metrics": ("RequestedModel", "Model", "ConfigType", "Status"),
    "gateway_request_metrics": ("AgentName", "AgentFramework", "AgentServerType", "IsFailure"),
}
"""Columns of few values that questions group by and filter."""
_MEASURES: Final = {
    "gateway_model_metrics": ("InputTokens", "OutputTokens", "CostInUSD"),
    "gateway_config_metrics": ("LoadbalanceTargetAttemptCount",),
}
"""Columns that are added up, of other tables the latency."""
LABEL_PROJECTION: Final = "by_label"
_TEAM_PROJECTION: Final = "by_team"
_SUBJECT_PROJECTION: Final = "by_subject"
_FITTING: Final = {
    "TEXT": r"String",
    "BIGINT": r"U?Int\d+",
    "INTEGER": r"U?Int\d+",
    "DOUBLE PRECISION": r"Float(32|64)|U?Int\d+|Decimal\(.*\)",
    "BOOLEAN": r"Bool",
    "TIMESTAMPTZ": r"DateTime(64)?(\(.*\))?",
    "Array(Text)": r"Array\(String\)",
    "Map(Text, Text)": r"Map\(String, String\)",
    "Map(Text, Array(Text))": r"Map\(String, Array\(String\)\)",
}
_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\(((?:[^()]|\([^()]*\))*)\)")
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-f]{2})+")
_NAMED: Final = re.compile(r"(?:`((?:[^`\\]|\\.)*)`|(\w+)) (.+)", re.DOTALL)


def create_table(table: str, columns: Mapping[str, str]) -> str:
    """The DDL of a table on one server or shard, partitioned by day.

    Within an hour, rows of the same label and then of the same subject stand together.
    """
    width = max(map(len, columns)) + 2
    listed = ",\n".join(
        f"    {quote_identifier(n):<{width}} {_OWN_VALUES.get(n) or _DDL_TYPES[t]}"
        for n, t in columns.items()
    )
    order = f"toStartOfHour({TIME_COLUMN}), {_label_of(table)}, {SLUG_COLUMN}, {TIME_COLUMN}"
    return (
        f"CREATE TABLE {table}\n(\n{listed},\n    {_HAS_TIME}\n)\nENGINE = MergeTree\n"
        f"PARTITION BY toYYYYMMDD({TIME_COLUMN})\n"
        f"ORDER BY ({order})\n"
        "SETTINGS allow_nullable_key = 1"
    )


def add_projections(table: str, columns: Mapping[str, str], keys: Sequence[str] = ()) -> str:
    """A statement that adds columns of metadata keys, and projections by the hour.

    Their expressions are those of the compiler's statements, or ClickHouse would not choose them.
    """
    metadata = quote_identifier(METADATA_COLUMN)
    added = []
    for key in keys:
        value = f"if(mapContains({metadata}, {_quote(key)}), {metadata}[{_quote(key)}], NULL)"
        type_ = f"LowCardinality(Nullable(String)) MATERIALIZED {value}"
        added.append(f"ADD COLUMN {quote_identifier(f'md_{key}')} {type_}")
    sums = ", ".join(_sums_of(table, columns))
    for name, dimensions in _dimensions_of(table, columns, keys):
        by = ", ".join([HOUR, *dimensions])
        select = f"SELECT {by}, {sums} GROUP BY {by}"
        added.append(f"ADD PROJECTION {quote_identifier(name)} ({select})")
    return f"ALTER TABLE {table}\n    " + ",\n    ".join(added)


def _plain(table: str) -> str:
    return table.rpartition(".")[2]


def _label_of(table: str) -> str:
    return _LABELS[_plain(table)][0]


def _dimensions_of(
    table: str, columns: Mapping[str, str], keys: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """The projections' names, and what each groups by beside the hour."""
    labels = [quote_identifier(name) for name in _LABELS[_plain(table)]]
    teams, subject = quote_identifier(TEAMS_COLUMN), [SLUG_COLUMN, SUBJECT_TYPE_COLUMN]
    # Questions are either about models or about virtual ones.
    virtual = ['"VirtualModelName" IS NULL'] if "VirtualModelName" in columns else []
    failure = ['"IsFailure"'] if "IsFailure" in columns else []
    yield LABEL_PROJECTION, labels
    yield _SUBJECT_PROJECTION, [*map(quote_identifier, subject), teams, *virtual]
    yield _TEAM_PROJECTION, [teams, labels[0], *failure, *virtual]
    for key in keys:
        yield _key_projection(f"md_{key}"), [quote_identifier(f"md_{key}"), labels[0], *virtual]


def _key_projection(column: str) -> str:
    return f"by_{column}"


def guess_projection(text: str, key_columns: Iterable[str]) -> str:
    """The projection that may serve a statement: ClickHouse then plans with no other.

    If it is another one or none, ClickHouse finds that out.
    """
    for column in key_columns:
        if quote_identifier(column) in text:
            return _key_projection(column)
    if SLUG_COLUMN in text or SUBJECT_TYPE_COLUMN in text:
        return _SUBJECT_PROJECTION
    return _TEAM_PROJECTION if quote_identifier(TEAMS_COLUMN) in text else LABEL_PROJECTION


def _sums_of(table: str, columns: Mapping[str, str]) -> Iterator[str]:
    dialect = ClickHouseDialect()
    yield "count()"
    for name in _MEASURES.get(_plain(table), ("LatencyMs",)):
        number = quote_identifier(name)
        if columns[name] == "DOUBLE PRECISION":
            yield from dialect.parts_of_sum(number)
            yield dialect.count_doubles(number)
        else:
            yield dialect.aggregate("sum", number)
            yield dialect.aggregate("count", number)


# --- columns of other types ---


def fits(stored: str, published: str) -> bool:
    """Whether a column of ClickHouse's type has the published type's values as it is."""
    return re.fullmatch(_FITTING[published], unwrap(stored)) is not None


def unwrap(stored: str) -> str:
    """The type without `Nullable` and `LowCardinality`, on one line."""
    plain = show_type(stored)
    while (bare := _WRAPPED.sub(r"\1", plain)) != plain:
        plain = bare
    return plain


def show_type(stored: str) -> str:
    """The type on one line; DESCRIBE gives each element of a tuple its own."""
    return re.sub(r"\n\s*", " ", stored).replace("( ", "(")


def convert(column: str, stored: str, published: str) -> str | None:
    """SQL that reads the column as the published type; None if it cannot.

    Only conversions that keep each value are made; but a fraction of an integer is rounded, a half
    away from zero, as on DuckDB.
    """
    if fits(stored, published):
        return column
    plain = unwrap(stored)
    if published == "TEXT":
        return _as_text(column, plain)
    if published in INTEGERS and plain in ("Float32", "Float64"):
        number = f"accurateCast({_round(column)}, 'Nullable(Int64)')"
        return f"if(isFinite({column}), {number}, NULL)"  # NaN is null (R22)
    if published in INTEGERS and plain.startswith("Decimal("):
        return f"accurateCast(round({column}), 'Nullable(Int64)')"
    if published == "BOOLEAN" and re.fullmatch(r"U?Int\d+", plain):
        return f"CAST({column} != 0, 'Nullable(Bool)')"
    if published == "TIMESTAMPTZ" and plain in ("Date", "Date32"):
        return f"toDateTime64({column}, 6, 'UTC')"
    if published == "Array(Text)":
        return _as_texts(column, plain)
    if published == "Map(Text, Text)":
        return _as_map(column, plain)
    return None


def precision(stored: str) -> int:
    """The digits of a second that a time's type has."""
    found = re.match(r"DateTime64\((\d)", unwrap(stored))
    return int(found[1]) if found else 0


def loses_nulls(stored: str) -> bool:
    """Whether a list or map has no place for a null, which is then stored as an empty text."""
    found = re.fullmatch(r"Array\((.*)\)|Map\([^,]*, (.*)\)", show_type(stored), re.DOTALL)
    return found is not None and not re.search(r"Nullable|Tuple", found[1] or found[2])


def scale(stored: str) -> int | None:
    """The digits after the point of a Decimal; None for another type."""
    found = re.fullmatch(r"Decimal\(\d+, (\d+)\)", unwrap(stored))
    return int(found[1]) if found else None


def _as_text(value: str, plain: str) -> str | None:
    """A value of a type that has one form as text."""
    if plain == "String":
        return value
    if re.fullmatch(r"FixedString\(\d+\)", plain):
        return f"toStringCutToZero({value})"  # it is padded with zero bytes
    if re.fullmatch(r"Enum(8|16)\(.*\)|UUID|U?Int\d+|IPv[46]|Bool", plain, re.DOTALL):
        return f"toString({value})"
    return None


def _round(number: str) -> str:
    """A float without its fraction, by the rule of Decimals; `round` takes a half to the even."""
    return f"trunc({number}) + if(abs({number} - trunc({number})) >= 0.5, sign({number}), 0)"


def _as_texts(column: str, plain: str) -> str | None:
    if plain == "String":
        return _parse_json(column, "Array", "Array(Nullable(String))", "[]")
    item = _as_text("t", plain[len("Array(") : -1]) if plain.startswith("Array(") else None
    return item and f"arrayMap(t -> {item}, {column})"


def _as_map(column: str, plain: str) -> str | None:
    """Metadata as another map, as key-value pairs, as a tuple of names, or as JSON."""
    kind, _, inner = plain.removesuffix(")").partition("(")
    if kind == "JSON":
        return f"mapFromArrays(JSONAllPaths({column}), JSONAllValues({column}))"
    if plain == "String":
        return _parse_json(column, "Object", "Map(String, Nullable(String))", "map()")
    parts = list(_split(inner))
    if kind == "Map":
        return _zip(f"mapKeys({column})", f"mapValues({column})", parts)
    if kind == "Array" and inner.startswith("Tuple("):
        return _of_pairs(column, [_name_of(part) for part in _split(inner[len("Tuple(") : -1])])
    return _of_tuple(column, parts) if kind == "Tuple" else None


def _zip(keys: str, values: str, types: list[str]) -> str | None:
    """A map of two lists, of these types of items."""
    key, value = (_as_text("t", type_) for type_ in types)
    if key is None or value is None:
        return None
    return f"mapFromArrays(arrayMap(t -> {key}, {keys}), arrayMap(t -> {value}, {values}))"


def _of_pairs(column: str, parts: list[tuple[str, str]]) -> str | None:
    """A map of a list of tuples of a key and a value, in this order."""
    names = [name.lower() for name, _ in parts]
    if names not in (["", ""], ["key", "value"], ["name", "value"]):
        return None
    keys, values = (f"tupleElement({column}, {number})" for number in (1, 2))
    return _zip(keys, values, [type_ for _, type_ in parts])


def _of_tuple(column: str, parts: list[str]) -> str | None:
    """A map of a tuple's elements by their names, which keep their case."""
    named = [_name_of(part) for part in parts]
    values = [
        _as_text(f"tupleElement({column}, {number})", type_)
        for number, (_, type_) in enumerate(named, 1)
    ]
    if not all(name for name, _ in named) or None in values:
        return None
    keys = ", ".join(_quote(name) for name, _ in named)
    texts = ", ".join(f"CAST({value}, 'Nullable(String)')" for value in values)
    return f"mapFromArrays([{keys}], [{texts}])"


def _parse_json(column: str, kind: str, type_: str, nothing: str) -> str:
    """JSON of a kind as a type; what is nested in it stays JSON. No text reads as `nothing`."""
    text = f"trim(ifNull(toString({column}), ''))"
    is_kind = f"isValidJSON({text}) AND JSONType({text}) = '{kind}'"
    fails = f"throwIf({text} != '' AND NOT ({is_kind}), 'the text is no JSON {kind}')"
    return f"if({fails} = 0, JSONExtract({text}, '{type_}'), CAST({nothing}, '{type_}'))"


def _split(types: str) -> Iterator[str]:
    """The types between the commas that stand in no parentheses or quotes."""
    depth, start = 0, 0
    for found in re.finditer(r"`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|[(),]", types):
        mark = found[0]
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth == 0:
            yield types[start : found.start()].strip()
            start = found.end()
    yield types[start:].strip()


def _name_of(part: str) -> tuple[str, str]:
    """A tuple's element as its name, empty if it has none, and its type."""
    found = _NAMED.fullmatch(part)
    if found is None:
        return "", part
    quoted, bare, type_ = found.groups()
    return bare or re.sub(r"\\(.)", r"\1", quoted), type_


def _quote(text: str) -> str:
    """A literal of a text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# --- texts that are no UTF-8, which the client writes as hexadecimal digits ---


def refuse_bytes(
    result: Result, table: str, first_key: int, ask_bytes: Callable[[], Sequence[Sequence[Any]]]
) -> None:
    """Refuse a result with keys that are no text; what only looks so is asked for once more.

    `first_key` is the column of the first key in the engine's rows.

    Raises:
        EngineError: that names the keys.
    """
    rows = result.plain_rows()
    suspects = [
        (number, name)
        for number, name in enumerate(result.key_names, first_key)
        if any(map(_may_be_bytes, {keys[number - first_key] for keys, _, _ in rows}))
    ]
    if not suspects:
        return
    raw = ask_bytes()
    found = [name for number, name in suspects if not all(_is_text(row[number]) for row in raw)]
    if found:
        raise EngineError(
            f"{' and '.join(found)} of {table} has bytes that are no UTF-8 text. Convert the column"
            " (convertCharset has other encodings), or read it through a view that does"
        )


def _may_be_bytes(key: object) -> bool:
    is_written_so = isinstance(key, str) and _HEXADECIMAL.fullmatch(key)
    return bool(is_written_so) and not _is_text(bytes.fromhex(str(key)))


def _is_text(value: object) -> bool:
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
    return True


if __name__ == "__main__":
    for name, its_columns in published_tables().items():
        for statement in (
            create_table(name, its_columns),
            add_projections(name, its_columns, sys.argv[1:]),
        ):
            sys.stdout.write(f"{statement};\n\n")
