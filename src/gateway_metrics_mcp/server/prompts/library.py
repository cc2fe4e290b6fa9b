"""All templates: the user's folder before ours, by name; bad files end the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, SettingsError
from gateway_metrics_mcp.query.measures import SHARE
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.prompts.arguments import read_values
from gateway_metrics_mcp.server.prompts.fill import fill_call
from gateway_metrics_mcp.server.prompts.model import Argument, Kind, Template
from gateway_metrics_mcp.server.prompts.parser import PLACE, Fault, read_template
from gateway_metrics_mcp.server.texts import find_templates
from gateway_metrics_mcp.server.tools import READERS

_MOST_BYTES: Final = 100_000
_MOST_FILES: Final = 200
_MOST_FAULTS: Final = 20
_SAMPLES: Final[Mapping[Kind, str]] = {
    "number": "1",
    "range": "last 7 days",
    "compare": "previous",
    "zone": "UTC",
    "datasource": DATASOURCES[0],
    "field": "userEmail",
    "measure": SHARE,
}
_OPEN_KINDS: Final = ("datasource", "field", "measure")
"""A call that names one of these cannot be checked without its value."""


def load_templates(
    own: Path | None, terms: Callable[[], ParserOptions], now: datetime
) -> dict[str, Template]:
    """Every template by name; one of the user's replaces ours of the same name.

    Raises:
        SettingsError: with every fault of every file.
    """
    faults: list[str] = []
    found: dict[str, Template] = {}
    if own is not None:
        found = _read_folder(_list_own(own), faults, partial(_check_use, terms, now))
    ours = _read_folder(find_templates(), faults, lambda *_: None)
    if faults:
        more = len(faults) - _MOST_FAULTS
        rest = [f"and {more} more like these"] if more > 0 else []
        raise SettingsError("\n".join(["the prompts:", *faults[:_MOST_FAULTS], *rest]))
    return {**found, **{name: one for name, one in ours.items() if name not in found}}


def _list_own(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SettingsError(f"the prompts folder {folder} is no directory")
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise SettingsError(f"the prompts folder {folder} has no file <name>.md")
    if len(paths) > _MOST_FILES:
        raise SettingsError(f"the prompts folder {folder} has more than {_MOST_FILES} files")
    return paths


def _read_folder(
    paths: list[Path], faults: list[str], check: Callable[[Template, list[Fault]], None]
) -> dict[str, Template]:
    found: dict[str, Template] = {}
    for path in paths:
        own: list[Fault] = []
        text = _read_file(path, own)
        template = None if text is None else read_template(path.stem, text, own)
        if template is not None:
            found[path.stem] = template
            if not own:
                check(template, own)
        faults += [f"{path}, line {one.line}: {one.message}" for one in own]
    return found


def _read_file(path: Path, faults: list[Fault]) -> str | None:
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            faults.append(Fault(1, "cannot be read: no regular file"))
            return None
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) <= _MOST_BYTES:
            return raw.decode("utf-8")
        faults.append(Fault(1, f"more than {_MOST_BYTES} bytes"))
    except UnicodeDecodeError as error:
        faults.append(Fault(error.object[: error.start].count(b"\n") + 1, "not UTF-8 text"))
    except OSError as error:
        faults.append(Fault(1, f"cannot be read: {error.strerror}"))
    return None


def _check_use(
    terms: Callable[[], ParserOptions], now: datetime, template: Template, faults: list[Fault]
) -> None:
    """Whether a user's template could be used: its defaults, and its calls with all arguments."""
    samples = {argument.name: _sample(argument) for argument in template.arguments}
    required = [one for one in template.arguments if one.is_required]
    needed = {name: samples[name] for one in required for name in (one.name, one.of) if name}
    try:
        read_values(template, needed, terms(), now)
    except InvalidQueryError as error:
        faults += [Fault(1, f"the default of {one}") for one in error.problems]
    is_open = {one.name for one in template.arguments if one.kind in _OPEN_KINDS}
    for call in template.calls:
        if call.tool not in READERS or _names(call.arguments) & is_open:
            continue
        try:
            READERS[call.tool](fill_call(call, samples), terms(), now)
        except InvalidQueryError as error:
            faults += [Fault(call.line, f"{call.tool}: {one}") for one in error.problems]


def _sample(argument: Argument) -> str:
    if argument.default is not None:
        return argument.default
    if argument.choices:
        return argument.choices[0]
    return _SAMPLES.get(argument.kind, "x")


def _names(value: Any) -> set[str]:
    """The arguments that a call names."""
    if isinstance(value, str):
        return set(PLACE.findall(value))
    entries = value.values() if isinstance(value, dict) else value
    return set().union(*map(_names, entries)) if isinstance(value, dict | list) else set()
