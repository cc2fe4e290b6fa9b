"""Known origins of files, as data: which expression fills which column of the table."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

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
