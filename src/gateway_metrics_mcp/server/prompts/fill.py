"""Fills a prompt template: validates the arguments and writes the text with its tool calls.

Values are untrusted: they appear quoted in text and as JSON in calls. Nothing is queried.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems, break_markup
from gateway_metrics_mcp.query import (
    DATASOURCES,
    METADATA_PREFIX,
    SHARE,
    Catalog,
    DatasourceName,
    Window,
    did_you_mean,
    quote,
    read_zone,
)
from gateway_metrics_mcp.query.model import parse_number
from gateway_metrics_mcp.query.time.comparison import read_earlier
from gateway_metrics_mcp.query.time.window import read_window
from gateway_metrics_mcp.query.validation import check_size
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.prompts.template import (
    MOST_LETTERS,
    PLACE,
    Argument,
    Call,
    Template,
)

_REFUSED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories that could forge lines of the prompt: controls, lone surrogates, line ends."""


def is_plain(text: str) -> bool:
    """Whether a text can be an argument's value: short, and without control characters."""
    is_short = len(text) <= MOST_LETTERS
    return is_short and not any(unicodedata.category(letter) in _REFUSED for letter in text)


def read_values(
    template: Template, raw: Mapping[str, Any], options: ParserOptions, now: datetime
) -> dict[str, str]:
    """The values of all arguments that are given or have a default.

    An empty text counts as omitted.

    Raises:
        InvalidQueryError: with every problem.
    """
    check_size(raw, "arguments")
    problems = Problems()
    allowed = [argument.name for argument in template.arguments]
    for name in raw:
        if name not in allowed:
            choice = did_you_mean(name, allowed)
            problems.add(quote(name), f"unknown argument. {choice}")
    values: dict[str, str] = {}
    for argument in template.arguments:
        value = raw.get(argument.name)
        if wrong := _find_wrong(argument, value):
            problems.add(argument.name, wrong)
        elif value and value.strip():
            values[argument.name] = value.strip()
        elif argument.default is not None:
            values[argument.name] = argument.default
    checker = _Checker(template, values, options, now)
    for argument in template.arguments:
        if argument.name in values:
            problems += checker.check(argument, values[argument.name])
    if problems:
        raise InvalidQueryError(problems)
    return values


def _find_wrong(argument: Argument, value: object) -> str | None:
    """What is wrong with a value regardless of its kind; None if nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return f"missing. {argument.description}" if argument.is_required else None
    if not isinstance(value, str):
        return f"expected text, got {quote(value)}"
    if len(value) > MOST_LETTERS:
        return f"more than {MOST_LETTERS} characters"
    return None if is_plain(value) else f"{quote(value)} contains a control character"


def datasource_of(template: Template, values: Mapping[str, str]) -> DatasourceName:
    """The datasource that an argument selects, else the template's."""
    given = template.given("datasource", values)
    return next((name for name in DATASOURCES if name == given), template.front.datasource)


def known_values(
    template: Template, argument: Argument, values: Mapping[str, str], catalog: Catalog
) -> tuple[str, ...]:
    """The allowed values of an argument by catalog or template; empty if any text is allowed."""
    match argument.kind:
        case "choice":
            return argument.choices
        case "datasource":
            return DATASOURCES
        case "field":
            return tuple(catalog.datasources[datasource_of(template, values)].group_by)
        case "measure":
            return (*catalog.measures[datasource_of(template, values)], SHARE)
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class _Checker:
    """Validates values that can depend on each other, such as a comparison on its range."""

    template: Template
    values: Mapping[str, str]
    options: ParserOptions
    now: datetime

    def check(self, argument: Argument, value: str) -> Iterator[Problem]:
        """The problems of a value of the argument's kind."""
        try:
            self._check(argument, value)
        except ValueError as error:
            yield Problem(argument.name, str(error))
        except InvalidQueryError as error:
            yield from (Problem(argument.name, one.message) for one in error.problems)

    def _check(self, argument: Argument, value: str) -> None:
        match argument.kind:
            case "number":
                _check_number(value)
            case "zone":
                read_zone(value)
            case "range":
                self._read_window(value)
            case "compare":
                self._check_compare(value)
            case "field":
                self._check_field(argument, value)
            case "key":
                _check_key(value)
            case "choice" | "datasource" | "measure":
                known = known_values(self.template, argument, self.values, self.options.catalog)
                if value not in known:
                    raise ValueError(f"{quote(value)} is unknown. {did_you_mean(value, known)}")
            case _ if argument.of is not None and argument.of not in self.values:
                raise ValueError(f"needs {argument.of} as well")

    def _read_window(self, value: str) -> Window | None:
        """The window of a range; None if only its zone is invalid, which `zone` reports.

        Raises:
            InvalidQueryError: with the problems of the range itself.
        """
        zone, usual = self.template.given("zone", self.values), self.options.default_zone
        try:
            return read_window(value, None, zone, now=self.now, default_zone=usual)
        except InvalidQueryError as error:
            ours = [problem for problem in error.problems if problem.place != "timezone"]
            if ours:
                raise InvalidQueryError(ours) from None
        return None

    def _check_compare(self, value: str) -> None:
        asked = self.template.given("range", self.values)
        try:
            window = None if asked is None else self._read_window(asked)
        except InvalidQueryError:
            return  # reported for the range
        if window is not None:
            read_earlier(value, window, now=self.now)

    def _check_field(self, argument: Argument, value: str) -> None:
        field = self.options.catalog.canonical("groupBy", value)
        is_key = field.startswith(METADATA_PREFIX) and field != METADATA_PREFIX
        known = known_values(self.template, argument, self.values, self.options.catalog)
        if field not in known and not is_key and not self.options.allow_unknown:
            name = datasource_of(self.template, self.values)
            choice = did_you_mean(value, (*known, f"{METADATA_PREFIX}<key>"))
            raise ValueError(f"{quote(value)} is not a group-by field of {name}. {choice}")


def _check_number(value: str) -> None:
    number = parse_number(value)
    if isinstance(number, str) or not math.isfinite(number) or number < 0:
        raise ValueError(f"{quote(value)} is not a number, such as 500 or 0.25")


def _check_key(value: str) -> None:
    # In calls the key is a field `metadata.<key>`, which the limit on arguments covers too.
    most = MOST_LETTERS - len(METADATA_PREFIX)
    if len(value) > most:
        raise ValueError(f"more than {most} characters")


_MISSING: Final = object()
_BARE: Final = ("number", "choice")
"""Kinds that are not quoted in text: none of their values can pass for instructions of ours."""
_BLANK: Final = re.compile(r"\n{3,}")


def fill(template: Template, raw: Mapping[str, Any], options: ParserOptions, now: datetime) -> str:
    """The prompt's text with these arguments; `now` is the time that ranges refer to.

    Raises:
        InvalidQueryError: with every problem of the arguments.
    """
    values = read_values(template, raw, options, now)
    lines: list[str] = []
    for part in template.parts:
        if part.condition is not None and not part.condition.holds(values):
            continue
        if isinstance(part.body, Call):
            arguments = _write_json(fill_call(part.body, values))
            lines += [f"```json {part.body.tool}", arguments, "```"]
        else:
            lines.append(_fill_line(part.body, template, values))
    return _BLANK.sub("\n\n", "\n".join(lines)).strip()


def fill_call(call: Call, values: Mapping[str, str]) -> dict[str, Any]:
    """The call's arguments, without entries that name an omitted argument.

    A filter is dropped as a whole then, since one with an empty value would match nothing.
    """
    filled = {name: _fill_json(value, values) for name, value in call.arguments.items()}
    return {name: value for name, value in filled.items() if value is not _MISSING}


def _fill_json(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if any(name not in values for name in PLACE.findall(value)):
            return _MISSING
        return PLACE.sub(lambda match: values[match[1]], value)
    if isinstance(value, list):
        entries = [_fill_json(entry, values) for entry in value]
        kept = [entry for entry in entries if entry is not _MISSING]
        return _MISSING if entries and not kept else kept
    if isinstance(value, dict):
        filled = {name: _fill_json(entry, values) for name, entry in value.items()}
        return _MISSING if _MISSING in filled.values() else filled
    return value


def _fill_line(line: str, template: Template, values: Mapping[str, str]) -> str:
    """A line of text; free text of the caller is quoted, so that it cannot pass for ours."""
    bare = {one.name for one in template.arguments if one.kind in _BARE}
    shown = {name: v if name in bare else _write_json(v) for name, v in values.items()}
    return PLACE.sub(lambda match: shown[match[1]], line)


def _write_json(value: Any) -> str:
    """JSON on one line, with escapes for invisible characters and for markup."""
    text = json.dumps(value, ensure_ascii=False)
    seen = (letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
    return break_markup("".join(seen))
