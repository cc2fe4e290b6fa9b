"""What a run of `import` stores beside the vendor's columns, for its writer and for questions.

Frequent metadata keys and the teams are stored as texts of their own, which a question reads
several times faster than maps and lists; rollups hold counts and exact sums by some dimensions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, get_args

from gateway_metrics_mcp.backends.sql.dialect import quote_identifier

ROWS_FILE: Final = "rows.parquet"
TEAMS_KEY: Final = "teams_key"
IDENTITY_COLUMNS: Final = ("has_call_id", "call_response", "import_source")
"""Whether a row's trace and span id are its source's, its response, and the file it came from; not
all files have them. An id of the call, made of the first two, would be a fourth of a file."""
COUNT_COLUMN: Final = "#n"
"""The number of rows that a rollup's row stands for."""
MOST_SUM: Final = 2.0**42
"""Doubles whose sizes add up to more are not rolled up: in units of 2**-84 that is near the most
that a DECIMAL(38, 0) holds."""
LEAST_SHRINK: Final = 4
"""A rollup is written if the day has at least so many times more rows."""
_MOST_KEYS: Final = 8
"""Keys with rollups of their own, the most frequent ones."""
Grain = Literal["hour", "day"]
Part = Literal["n", "sum", "min", "max"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""What a rollup holds of a measure: the number of values, their sum, the least, the greatest."""
_PLAIN_KEY: Final = re.compile(r"[a-z0-9_]+", re.ASCII)
_METADATA_COLUMN: Final = re.compile(r"md_[a-z0-9_]+|mdx_([0-9a-f]*)", re.ASCII)
_MOST_NAME: Final = 100
_ROLLUP: Final = re.compile(r"_(hour|day)-(.+)-([0-9a-f]+)\.parquet", re.ASCII)


def metadata_column(key: str) -> str | None:
    """The column of a metadata key; None if its name would be too long for a file's."""
    # DuckDB takes names that differ by case alone for one.
    is_plain = _PLAIN_KEY.fullmatch(key) is not None
    name = f"md_{key}" if is_plain else f"mdx_{key.encode('utf-8', 'surrogatepass').hex()}"
    return name if len(name) <= _MOST_NAME else None


def metadata_key(column: str) -> str | None:
    """The metadata key of a column; None if the column is none of a key."""
    found = _METADATA_COLUMN.fullmatch(column)
    if found is None:
        return None
    if found[1] is None:
        return column.removeprefix("md_")
    try:
        key = bytes.fromhex(found[1]).decode("utf-8", "surrogatepass")
    except ValueError:
        return None
    return key if metadata_column(key) == column else None


# --- the teams as one text ---


def encode_teams(teams: str) -> str:
    """SQL of the teams key of a list: its different teams as sorted JSON strings, `,"a","b",`.

    A comma in a team is escaped, so that each stands between two that are none of a team's.
    """
    encoded = f"list_transform(list_sort(list_distinct({teams})), lambda team: {_encode('team')})"
    return f"',' || array_to_string({encoded}, '')"


def decode_teams(key: str) -> str:
    """SQL of the list of a teams key; null for a null."""
    return f"CAST(CAST('[' || trim({key}, ',') || ']' AS JSON) AS VARCHAR[])"


def has_team(key: str, team: str) -> str:
    """SQL of whether a teams key has the team; false for a null key."""
    # The engine encodes both sides: two encoders might differ in what they escape.
    return f"coalesce(contains({key}, ',' || {_encode(team)}), false)"


def _encode(team: str) -> str:
    return f"replace(CAST(to_json(CAST({team} AS VARCHAR)) AS VARCHAR), ',', '\\u002c') || ','"


# --- rollups ---


@dataclass(frozen=True, slots=True)
class Family:
    """Rollups by the same dimensions, whose rows add up what rows of a day have alike."""

    name: str
    table: str
    dimensions: tuple[str, ...]
    """Columns of the rows, of `metadata_column` among them, or the teams key."""
    measures: tuple[str, ...]
    """Columns with `X#n` and `X#sum`; a file lacks both of one whose sums would not be exact."""
    extremes: tuple[str, ...]
    """Those with `X#min` and `X#max` too."""
    grains: tuple[Grain, ...]
    coarse: tuple[str, ...]
    """Further dimensions of which it only tells whether they are null: any text is an empty one."""

    @property
    def keys(self) -> tuple[str, ...]:
        """All dimensions, in the order of the columns."""
        return (*self.dimensions, *self.coarse)


@dataclass(frozen=True, slots=True)
class Rollup:
    """What the name of a rollup's file says."""

    grain: Grain
    family: Family
    rows_bytes: int
    """The size of the file of rows that it was made of: of another size, it no longer fits."""


def rollup_name(grain: Grain, family: str, rows_bytes: int) -> str:
    """The name of a rollup's file, which questions of older versions pass over."""
    return f"_{grain}-{family}-{rows_bytes:x}.parquet"


def parse_rollup(table: str, name: str) -> Rollup | None:
    """What a file is by its name; None if it is no rollup of this version."""
    found = _ROLLUP.fullmatch(name)
    family = None if found is None else find_family(table, found[2])
    if found is None or family is None:
        return None
    grain: Grain = "hour" if found[1] == "hour" else "day"
    return Rollup(grain, family, int(found[3], 16))


@cache
def find_family(table: str, name: str) -> Family | None:
    """A family by its name: `dims`, or with a metadata key's column, `meta-md_project`."""
    families = _definitions()[table]["families"]
    base, _, column = name.rpartition("-")
    if name in families and "keys" not in families[name]:
        return _make_family(table, name, families[name])
    if base in families and "keys" in families[base] and metadata_key(column) is not None:
        return _make_family(table, name, families[base], column)
    return None


def families_of(table: str, key_columns: Sequence[str]) -> Iterator[Family]:
    """The families of a table whose rows have these columns of keys, most frequent first."""
    for name, made in _definitions()[table]["families"].items():
        keys = {"first": key_columns[:1], "each": key_columns[:_MOST_KEYS], None: [None]}[
            made.get("keys")
        ]
        for column in keys:
            yield _make_family(table, f"{name}-{column}" if column else name, made, column)


def order_column(table: str) -> str:
    """The column by which rows of an hour are sorted first."""
    column: str = _definitions()[table]["order"]
    return column


def measure_column(column: str, part: Part) -> str:
    """The quoted column of a rollup with this of a measure."""
    return quote_identifier(f"{column}#{part}")


def _make_family(table: str, name: str, made: dict[str, Any], key: str | None = None) -> Family:
    return Family(
        name,
        table,
        dimensions=(*made["dimensions"], *([key] if key else [])),
        measures=tuple(made.get("measures", _definitions()[table]["measures"])),
        extremes=tuple(made.get("extremes", ())),
        grains=tuple(made.get("grains", get_args(Grain))),
        coarse=tuple(made.get("coarse", ())),
    )


@cache
def _definitions() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("rollups.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
