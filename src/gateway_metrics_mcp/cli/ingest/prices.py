"""Prices of models from a TOML file, for rows without a recorded cost."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import did_you_mean

_KEYS: Final = ("model", "input", "output")


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in USD per million tokens, for models that match a pattern."""

    model: str  # a name or pattern: `*` matches any characters, `?` one
    input: float
    output: float


def read_prices(path: Path) -> tuple[Price, ...]:
    """Read the tables `[[price]]` of a TOML file.

    Raises:
        SettingsError: if the file cannot be read, or an entry is invalid.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the prices {path} cannot be read: {error}") from None
    for name in values:
        if name != "price":
            raise SettingsError(f"{path}: unknown key {name}. Give tables [[price]]")
    entries = values.get("price", [])
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{path} has no price. Give tables [[price]]")
    return tuple(_read_price(f"{path}: price {n}", entry) for n, entry in enumerate(entries, 1))


def find_price(model: str, prices: tuple[Price, ...]) -> Price | None:
    """The first price whose pattern matches the model, case-sensitively."""
    return next((price for price in prices if fnmatchcase(model, price.model)), None)


def _read_price(place: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise SettingsError(f"{place}: must be a table [[price]]")
    for name in entry:
        if name not in _KEYS:
            raise SettingsError(f"{place}: unknown key {name}. {did_you_mean(name, _KEYS)}")
    model = entry.get("model")
    if not isinstance(model, str) or not model:
        raise SettingsError(f'{place}: model must be a name or a pattern such as "gpt-4o*"')
    for name in ("input", "output"):
        value = entry.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= entry[name] < math.inf:
            raise SettingsError(f"{place}: {name} must be USD per million tokens, 0 or more")
    return Price(model, float(entry["input"]), float(entry["output"]))
