"""Prices of models, for rows whose cost nobody recorded."""

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
    """What a million tokens cost with the models of a pattern, in USD."""

    model: str  # a name; `*` stands for any letters, `?` for one
    input: float
    output: float


def read_prices(path: Path) -> tuple[Price, ...]:
    """The prices of a TOML file, tables `[[price]]`.

    Raises:
        SettingsError: if it cannot be read, or one is not as documented.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
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
    """The first that fits the model."""
    return next((price for price in prices if fnmatchcase(model, price.model)), None)


def _read_price(place: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise SettingsError(f"{place}: has to be a table [[price]]")
    for name in entry:
        if name not in _KEYS:
            raise SettingsError(f"{place}: unknown key {name}. {did_you_mean(name, _KEYS)}")
    model = entry.get("model")
    if not isinstance(model, str) or not model:
        raise SettingsError(f'{place}: model has to be a name or a pattern such as "gpt-4o*"')
    for name in ("input", "output"):
        value = entry.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= entry[name] < math.inf:
            raise SettingsError(f"{place}: {name} has to be USD per million tokens, 0 or more")
    return Price(model, float(entry["input"]), float(entry["output"]))
