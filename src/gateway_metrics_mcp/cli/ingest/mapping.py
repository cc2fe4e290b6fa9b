"""Maps columns of a file to columns of the table: by flags, by a preset, or by name."""

from __future__ import annotations

import csv
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template
from typing import Any, Final

from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import closest_matches, did_you_mean, quote

_FOLDER: Final = resources.files(__package__).joinpath("presets")


@dataclass(frozen=True, slots=True)
class Preset:
    """A known source of logs; expressions are SQL over text, `$name` stands for a field."""

    title: str
    table: str
    columns: dict[str, str]
    """Column of the table -> expression."""
    kept: str | None = None
    """A condition for the rows to import; null means no. None keeps all rows."""
    left_out: str = ""
    """What the skipped rows are, for the report."""
    timezone: str | None = None
    """The zone of times without an offset, if the source defines one."""
    needed: tuple[str, ...] = ()
    """Columns without which a file is not from this source."""
    formats: tuple[str, ...] = ("csv", "jsonl", "parquet")
    rows: str | None = None
    """SQL that makes rows of JSON lines; None if a line is a row."""
    fields: tuple[str, ...] = ()
    """The columns that `rows` yields; empty if they are the file's."""
    response: str | None = None
    """The id that the provider gave its response; null if a cache gave it again."""
    parent: str | None = None
    """The `SpanId` of the span around this one; null for what wraps other calls: agents, tools."""


def preset_names() -> tuple[str, ...]:
    """The names that `--preset` accepts, sorted."""
    names = (path.name for path in _FOLDER.iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def load_preset(name: str) -> Preset:
    """Load a preset by a name of `preset_names()`."""
    values: dict[str, Any] = tomllib.loads(_FOLDER.joinpath(f"{name}.toml").read_text("utf-8"))
    lists = ("needed", "formats", "fields")
    return Preset(**values | {key: tuple(values[key]) for key in lists if key in values})


@dataclass(frozen=True, slots=True)
class Assignments:
    """`--map` and `--set`: table column -> file column, and table column -> constant."""

    columns: dict[str, str]
    constants: dict[str, str]


@dataclass(frozen=True, slots=True)
class Match:
    """How one file fills the table."""

    used: tuple[str, ...]
    """The file's columns that are read; the n-th is `c<n>` in expressions."""
    expressions: dict[str, str]
    """Table column -> SQL over `c<n>`; its value is text or can be cast to text."""
    kept: str
    """SQL condition for the rows to import."""
    by_column: dict[str, str] = field(default_factory=dict)
    """Table column -> the file's column, if a single one fills it."""
    ambiguous: tuple[str, ...] = ()
    """The file's columns that match the same table column, so that none is used."""
    unread: tuple[str, ...] = ()
    """The file's columns that fill nothing."""
    response: str | None = None
    """SQL over `c<n>` for the id of the response."""
    parent: str | None = None
    """SQL over `c<n>` for the `SpanId` of the span around."""
    has_ids: bool = False
    """Whether `TraceId` and `SpanId` come from the file's rows."""


def read_assignments(
    maps: Iterable[str], sets: Iterable[str], targets: Sequence[str]
) -> Assignments:
    """Parse the texts of `--map` and `--set`; `targets` are the table's columns.

    Raises:
        SettingsError: if one is not `COLUMN=...`, or its column is unknown or given twice.
    """
    # `--map` takes several pairs as one CSV record, so a name with a comma can be quoted.
    pairs = [("--map", part) for text in maps for part in next(csv.reader([text]), ())]
    pairs += [("--set", text) for text in sets]
    found: dict[str, dict[str, str]] = {"--map": {}, "--set": {}}
    for flag, text in pairs:
        target, sign, value = text.partition("=")
        target = target.strip()
        if not sign or not value:
            meant = "SOURCE" if flag == "--map" else "VALUE"
            raise SettingsError(f"{flag} {quote(text)}: expected COLUMN={meant}")
        if target not in targets:
            raise SettingsError(
                f"{flag}: the table has no column {target}. {did_you_mean(target, targets)}"
            )
        if target in found["--map"] or target in found["--set"]:
            raise SettingsError(f"{flag}: {target} is given twice")
        found[flag][target] = value
    return Assignments(found["--map"], found["--set"])


def check_sources(assignments: Assignments, columns: Sequence[Sequence[str]]) -> None:
    """Refuse `--map` of a column that no file has. One file that lacks it is normal.

    Raises:
        SettingsError: with the nearest columns.
    """
    there = tuple(dict.fromkeys(name for listed in columns for name in listed))
    for target, name in assignments.columns.items():
        if name not in there:
            raise SettingsError(
                f"--map: the files have no column {name} for {target}. {did_you_mean(name, there)}"
            )


def match_columns(
    columns: Sequence[str],
    assignments: Assignments,
    preset: Preset | None,
    targets: Sequence[str],
    file: str,
) -> Match:
    """Match a file's columns with the table's; flags override the preset, and names fill the rest.

    Raises:
        SettingsError: if no column gives the time, or the file is not from the preset's source.
    """
    by_column = {t: name for t, name in assignments.columns.items() if name in columns}
    ambiguous: tuple[str, ...] = ()
    if preset is None:
        named, ambiguous = _match_names(columns, targets)
        by_column = {t: n for t, n in named.items() if t not in assignments.constants} | by_column
    elif missing := [name for name in preset.needed if name not in columns]:
        raise SettingsError(
            f"{file} has no column {missing[0]}, so it is not a file of {preset.title}."
            f" It has {', '.join(columns)}"
        )
    wanted = {*by_column.values(), *(_names(preset) if preset else ())}
    used = tuple(name for name in columns if name in wanted)
    columns_of = preset.columns if preset else {}
    expressions = {target: _fill(text, used) for target, text in columns_of.items()}
    expressions |= {target: f"c{used.index(name)}" for target, name in by_column.items()}
    expressions |= {target: sql_text(value) for target, value in assignments.constants.items()}
    if TIME_COLUMN not in expressions:
        near = closest_matches("timestamp", columns) + closest_matches("time", columns)
        meant = f" Did you mean --map {TIME_COLUMN}={near[0]}?" if near else ""
        raise SettingsError(
            f"{file}: no column says when a row was made. Give --map {TIME_COLUMN}=...;"
            f" the file has {', '.join(columns)}.{meant}"
        )
    kept = _fill(preset.kept, used) if preset and preset.kept else "TRUE"
    unread = tuple(name for name in columns if name not in (*used, *ambiguous))
    response, parent = (
        _fill(text, used) if text else None
        for text in (preset and preset.response, preset and preset.parent)
    )
    has_ids = "TraceId" in expressions and "SpanId" in expressions.keys() - assignments.constants
    return Match(used, expressions, kept, by_column, ambiguous, unread, response, parent, has_ids)


def sql_text(value: str) -> str:
    """A text as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def _match_names(
    columns: Sequence[str], targets: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Match columns by name, ignoring case and underscores; also the ambiguous ones."""
    named: dict[str, str] = {}
    ambiguous: list[str] = []
    for target in targets:
        alike = [name for name in columns if _fold(name) == _fold(target)]
        if target in alike:
            named[target] = target
        elif len(alike) == 1:
            named[target] = alike[0]
        else:
            ambiguous += alike
    return named, tuple(ambiguous)


def _fold(name: str) -> str:
    return name.strip().replace("_", "").casefold()


def _names(preset: Preset) -> set[str]:
    """The columns that a preset's expressions use."""
    texts = [*preset.columns.values(), preset.kept, preset.response, preset.parent]
    return {name for text in texts if text for name in Template(text).get_identifiers()}


def _fill(text: str, used: Sequence[str]) -> str:
    """A preset's expression over `c<n>`; columns that the file lacks become null."""
    columns = defaultdict(lambda: "NULL::VARCHAR", {name: f"c{n}" for n, name in enumerate(used)})
    return Template(text).substitute(columns)


def describe(by_column: Mapping[str, str]) -> str:
    """`CreatedAt=TIMESTAMP, InputTokens=ContextTokens`."""
    return ", ".join(f"{target}={name}" for target, name in by_column.items())
