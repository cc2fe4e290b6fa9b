"""Which column of a file fills which column of the table: as asked, by a preset, or by name."""

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
from gateway_metrics_mcp.query import did_you_mean, quote
from gateway_metrics_mcp.query.suggestions import closest_matches

_FOLDER: Final = resources.files(__package__).joinpath("presets")


@dataclass(frozen=True, slots=True)
class Preset:
    """One origin; expressions are SQL over text, `$name` stands for a field."""

    title: str
    table: str
    columns: dict[str, str]
    """Column of the table -> expression."""
    kept: str | None = None
    """Which rows are wanted; null is no."""
    left_out: str = ""
    """What the others are, for the report."""
    timezone: str | None = None
    """The zone of times without an offset, where the origin defines one."""
    needed: tuple[str, ...] = ()
    """Columns of the file without which it is of another origin."""
    formats: tuple[str, ...] = ("csv", "jsonl", "parquet")
    rows: str | None = None
    """Makes rows of JSON lines; without it a row is a row of the file."""
    fields: tuple[str, ...] = ()
    """The columns that `rows` yields; without it they are the file's."""


def preset_names() -> tuple[str, ...]:
    """What `--preset` takes."""
    names = (path.name for path in _FOLDER.iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def load_preset(name: str) -> Preset:
    """One of `preset_names()`."""
    values: dict[str, Any] = tomllib.loads(_FOLDER.joinpath(f"{name}.toml").read_text("utf-8"))
    lists = ("needed", "formats", "fields")
    return Preset(**values | {key: tuple(values[key]) for key in lists if key in values})


@dataclass(frozen=True, slots=True)
class Assignments:
    """What `--map` and `--set` state: column of the table -> column of the files, or value."""

    columns: dict[str, str]
    constants: dict[str, str]


@dataclass(frozen=True, slots=True)
class Match:
    """What one file is read for."""

    used: tuple[str, ...]
    """The file's columns that are read; the n-th is `c<n>` in expressions."""
    expressions: dict[str, str]
    """Column of the table -> SQL over `c<n>`; its value is text or can be cast to it."""
    kept: str
    """SQL: whether the row is wanted."""
    by_column: dict[str, str] = field(default_factory=dict)
    """Column of the table -> the file's column, where one alone fills it."""
    ambiguous: tuple[str, ...] = ()
    """The file's columns that could all be the same column of the table, so that none is."""
    unread: tuple[str, ...] = ()
    """The file's columns that fill nothing."""


def read_assignments(
    maps: Iterable[str], sets: Iterable[str], targets: Sequence[str]
) -> Assignments:
    """The assignments of the flags' texts.

    Raises:
        SettingsError: if one is no pair, names an unknown column, or a column a second time.
    """
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
    """Refuse an assignment of a column that none of the files has.

    Raises:
        SettingsError: with the columns that are nearest to it.
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
    """What a file with these columns is read for.

    Raises:
        SettingsError: if nothing tells when a row was made, or the file is not the preset's.
    """
    by_column = {t: name for t, name in assignments.columns.items() if name in columns}
    ambiguous: tuple[str, ...] = ()
    if preset is None:
        named, ambiguous = _match_names(columns, targets)
        by_column = {t: n for t, n in named.items() if t not in assignments.constants} | by_column
    elif missing := [name for name in preset.needed if name not in columns]:
        raise SettingsError(
            f"{file} has no column {missing[0]}, so it is no file of {preset.title}."
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
    return Match(used, expressions, kept, by_column, ambiguous, unread)


def sql_text(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def _match_names(
    columns: Sequence[str], targets: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns of the same name, or of one that differs in case and underscores alone."""
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
    """The columns that a preset's expressions speak of."""
    texts = (*preset.columns.values(), preset.kept or "")
    return {name for text in texts for name in Template(text).get_identifiers()}


def _fill(text: str, used: Sequence[str]) -> str:
    """An expression of a preset with its columns; null for those that the file lacks."""
    columns = defaultdict(lambda: "NULL::VARCHAR", {name: f"c{n}" for n, name in enumerate(used)})
    return Template(text).substitute(columns)


def describe(by_column: Mapping[str, str]) -> str:
    """`CreatedAt=TIMESTAMP, InputTokens=ContextTokens`."""
    return ", ".join(f"{target}={name}" for target, name in by_column.items())
