"""The arguments of a prompt as they come: untrusted text, checked as far as their kind allows."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.measures import SHARE, measures_of
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.text import parse_number
from gateway_metrics_mcp.query.time.comparison import read_earlier
from gateway_metrics_mcp.query.time.window import read_window
from gateway_metrics_mcp.query.time.zone import read_zone
from gateway_metrics_mcp.query.validation import check_size
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, METADATA_PREFIX, DatasourceName
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.prompts.model import Argument, Template
from gateway_metrics_mcp.server.prompts.parser import MOST_LETTERS

_REFUSED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, halves of pairs, and what ends a line."""


def is_plain(text: str) -> bool:
    """Whether a text may be an argument's value."""
    is_short = len(text) <= MOST_LETTERS
    return is_short and not any(unicodedata.category(letter) in _REFUSED for letter in text)


def read_values(
    template: Template, raw: Mapping[str, Any], terms: ParserOptions, now: datetime
) -> dict[str, str]:
    """The value of each argument that is given or has a default; an empty text is not given.

    Raises:
        InvalidQueryError: with every problem.
    """
    check_size(raw, "arguments")
    problems: list[Problem] = []
    allowed = [argument.name for argument in template.arguments]
    for name in raw:
        if name not in allowed:
            choice = did_you_mean(name, allowed)
            problems.append(Problem(quote(name), f"unknown argument. {choice}"))
    values: dict[str, str] = {}
    for argument in template.arguments:
        value = _read(argument, raw.get(argument.name), problems)
        if value is not None:
            values[argument.name] = value
    checker = _Checker(template, values, terms, now)
    for argument in template.arguments:
        if argument.name in values:
            try:
                checker.check(argument, values[argument.name])
            except ValueError as error:
                problems.append(Problem(argument.name, str(error)))
            except InvalidQueryError as error:
                problems += [Problem(argument.name, one.message) for one in error.problems]
    if problems:
        raise InvalidQueryError(problems)
    return values


def _read(argument: Argument, value: object, problems: list[Problem]) -> str | None:
    """The text as given, or the default; None if there is neither, or it cannot be one."""
    if isinstance(value, str) and is_plain(value) and value.strip():
        return value.strip()
    if value is None or (isinstance(value, str) and not value.strip()):
        if argument.is_required:
            problems.append(Problem(argument.name, f"missing. {argument.description}"))
        return argument.default
    if not isinstance(value, str):
        wrong = f"expected text, got {quote(value)}"
    elif len(value) > MOST_LETTERS:
        wrong = f"more than {MOST_LETTERS} letters"
    else:
        wrong = f"{quote(value)} holds a control character"
    problems.append(Problem(argument.name, wrong))
    return None


class _Checker:
    """Knows the other values, since a value can depend on them."""

    def __init__(
        self, template: Template, values: Mapping[str, str], terms: ParserOptions, now: datetime
    ) -> None:
        self._template = template
        self._values = values
        self._terms = terms
        self._now = now

    def check(self, argument: Argument, value: str) -> None:
        """Raise if the value is none of its kind.

        Raises:
            ValueError: with a message for the asker.
            InvalidQueryError: likewise.
        """
        match argument.kind:
            case "number":
                _check_number(value)
            case "choice":
                _check_choice(value, argument.choices)
            case "datasource":
                _check_choice(value, DATASOURCES)
            case "zone":
                read_zone(value)
            case "range":
                self._read_window(value)
            case "compare":
                self._check_compare(value)
            case "field":
                self._check_field(value)
            case "key":
                _check_key(value)
            case "measure":
                known = measures_of(self._datasource(), self._terms.catalog)
                _check_choice(value, (*known, SHARE))
            case _:
                self._check_source(argument)

    def _check_source(self, argument: Argument) -> None:
        if argument.of is not None and argument.of not in self._values:
            raise ValueError(f"needs {argument.of} as well")

    def _read_window(self, value: str) -> Any:
        zone = self._template.given("zone", self._values)
        try:
            return read_window(
                value, None, zone, now=self._now, default_zone=self._terms.default_zone
            )
        except InvalidQueryError as error:
            ours = [problem for problem in error.problems if problem.place != "timezone"]
            if ours:
                raise InvalidQueryError(ours) from None
        return None

    def _check_compare(self, value: str) -> None:
        asked = self._template.given("range", self._values)
        try:
            window = None if asked is None else self._read_window(asked)
        except InvalidQueryError:
            return  # the range's own problem
        if window is not None:
            read_earlier(value, window, now=self._now)

    def _check_field(self, value: str) -> None:
        catalog, name = self._terms.catalog, self._datasource()
        field = catalog.canonical("groupBy", value)
        if field.startswith(METADATA_PREFIX) and field != METADATA_PREFIX:
            return
        known = catalog.datasources[name].group_by
        if field not in known and not self._terms.allow_unknown:
            choice = did_you_mean(value, (*known, f"{METADATA_PREFIX}<key>"))
            raise ValueError(f"{quote(value)} is no group-by field of {name}. {choice}")

    def _datasource(self) -> DatasourceName:
        return datasource_of(self._template, self._values)


def datasource_of(template: Template, values: Mapping[str, str]) -> DatasourceName:
    """The datasource that an argument names, else the template's."""
    given = template.given("datasource", values)
    return next((name for name in DATASOURCES if name == given), template.datasource)


def _check_number(value: str) -> None:
    number = parse_number(value)
    if number is None or not math.isfinite(number) or number < 0:
        raise ValueError(f"{quote(value)} is no number, such as 500 or 0.25")


def _check_key(value: str) -> None:
    """The calls name the key as a field, which may be as long as an argument."""
    most = MOST_LETTERS - len(METADATA_PREFIX)
    if len(value) > most:
        raise ValueError(f"more than {most} letters")


def _check_choice(value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{quote(value)} is unknown. {did_you_mean(value, allowed)}")
