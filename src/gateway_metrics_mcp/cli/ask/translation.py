"""The tools' words for a shell: flags instead of arguments, in questions, problems and answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from gateway_metrics_mcp.cli.ask.filters import read_filters
from gateway_metrics_mcp.cli.ask.flags import FLAGS, AskOptions, Given, list_names
from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.suggestions import quote
from gateway_metrics_mcp.rendering.document import Words

_SPOKEN: Final[Mapping[str, str]] = {name: flags[0] for name, flags in FLAGS.items()} | {
    "aggregations": "--sum and the like",
}
_ARGUMENT: Final = re.compile(rf"\b({'|'.join(_SPOKEN)})\b")
_QUOTED: Final = re.compile(r'("[^"]*")')
_WINDOW: Final = ("startTs", "endTs", "compareTo")


@dataclass(slots=True)
class Wording:
    """The tool's arguments, and which flag each came from."""

    raw: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _flags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, order: AskOptions, catalog: Catalog) -> Wording:
        """The arguments that the flags state; what is no condition is a problem."""
        wording = cls()
        for one in order.given:
            if one.argument == "filters":
                continue
            if one.argument in ("aggregations", "groupBy"):
                for name in list_names(one.text):
                    entry = f"{one.prefix} {name}" if one.prefix else name
                    wording._add(one.argument, entry, f"{one.flag} {name}")
            else:
                wording.raw[one.argument] = one.text
                wording._flags[one.argument] = one.flag
        if wording._flags.get("startTs") == "--range" and "endTs" not in wording.raw:
            wording._end_of_day()
        datasource = wording.raw.get("datasource", "modelMetrics")
        for one in order.given:
            if one.argument == "filters":
                wording._add_condition(one, datasource, catalog)
        return wording

    def _end_of_day(self) -> None:
        """A date as a range is that day: as a start alone, it would reach to now."""
        with suppress(ValueError, OverflowError):
            day = datetime.strptime(self.raw["startTs"].strip(), "%Y-%m-%d")  # noqa: DTZ007 - a date
            self.raw["endTs"] = f"{day + timedelta(days=1):%Y-%m-%d}"
            self._flags["endTs"] = "--range"

    def _add_condition(self, given: Given, datasource: str, catalog: Catalog) -> None:
        flag = f"{given.flag} {quote(given.text)}"
        try:
            for filter_ in read_filters(given.words, datasource, catalog):
                self._add("filters", filter_, flag)
        except ValueError as error:
            self.problems.append(f"{flag}: {error}")

    def _add(self, argument: str, entry: object, flag: str) -> None:
        entries = self.raw.setdefault(argument, [])
        self._flags[f"{argument}[{len(entries)}]"] = flag
        entries.append(entry)

    def explain(self, problem: Problem) -> str:
        """The problem, at the flag that has it."""
        place = re.match(r"\w+(?:\[\d+\])?", problem.place)
        found = None if place is None else self._flags.get(place[0])
        if found is None and problem.place == "field":
            found = "FIELD"  # it stands bare
        if found is None:
            found = _speak_names(problem.place, self._flags)
        return f"{found}: {_speak_names(problem.message, self._flags)}"

    def words(self) -> Words:
        """How an answer says how to ask on."""
        return Words("ask values", "ask fields", "--format exact", self._go_on)

    def _go_on(self, arguments: Mapping[str, Any]) -> str:
        """`the same without --range, with --offset 5 --start now-7d`.

        A window is given once, so the flags that gave it have to go.
        """
        flags = {name: FLAGS.get(name, (f"--{name}",))[-1] for name in arguments}
        given = dict.fromkeys(
            self._flags[name] for name in _WINDOW if name in flags and name in self._flags
        )
        without = f"without {' and '.join(given)}, " if given else ""
        words = " ".join(
            f"{flags[name]} {shlex.quote(str(value))}" for name, value in arguments.items()
        )
        return f"the same {without}with {words}"


def _speak_names(text: str, flags: Mapping[str, str]) -> str:
    """Arguments' names as flags, but not in what is quoted."""

    def speak(match: re.Match[str]) -> str:
        return flags.get(match[1], _SPOKEN[match[1]])

    parts = _QUOTED.split(text)
    return "".join(part if i % 2 else _ARGUMENT.sub(speak, part) for i, part in enumerate(parts))
