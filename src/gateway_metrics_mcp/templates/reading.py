"""A template file -> a Template, or every reason why it is none, each with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.templates.front import Fault, Front, read_front
from gateway_metrics_mcp.templates.model import Argument, Call, Condition, Part, Template
from gateway_metrics_mcp.tools import TOOLS

FENCE: Final = "+++"
PLACE: Final = re.compile(r"\{\{([^{}]*)\}\}")
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_OPENING: Final = re.compile(r"```json (\S+)\s*")
_IF: Final = re.compile(r"\{\{if ([a-z_0-9]+)(?: = ([^{}]+))?\}\}")
_IF_FORMS: Final = "{{if name}} or {{if name = value}}"


def read_template(name: str, text: str, faults: list[Fault]) -> Template | None:
    """The template of a file; None where its front matter cannot be read.

    Each thing that is wrong is added to `faults`.
    """
    if NAME.fullmatch(name) is None:
        faults.append(Fault(1, f"{quote(name)} is no name: a-z, 0-9 and -, from a letter on"))
    lines = text.replace("\r\n", "\n").split("\n")
    head = _split_head(lines, faults)
    if head is None:
        return None
    front = read_front(head, faults)
    if front is None:
        return None
    parts = tuple(_Body(lines, len(head) + 2, front, faults).read())
    return Template(name, front.title, front.description, front.arguments, parts, front.datasource)


def _split_head(lines: list[str], faults: list[Fault]) -> list[str] | None:
    """The lines between the first two `+++`."""
    if not lines or lines[0].strip() != FENCE:
        faults.append(Fault(1, f"the first line has to be {FENCE}, then TOML, then {FENCE} again"))
        return None
    for number, line in enumerate(lines[1:], 1):
        if line.strip() == FENCE:
            return lines[1:number]
    faults.append(Fault(1, f"the front matter has no end: a line {FENCE}"))
    return None


class _Body:
    """Reads what follows the front matter, line by line."""

    def __init__(self, lines: list[str], first: int, front: Front, faults: list[Fault]) -> None:
        self._lines = lines
        self._next = first
        self._names = {argument.name: argument for argument in front.arguments}
        self._faults = faults
        self._condition: Condition | None = None
        self._opened = 0

    def read(self) -> Iterator[Part]:
        if not any(line.strip() for line in self._lines[self._next :]):
            self._fault("there is no text after the front matter")
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip()
            self._next += 1
            opening = _OPENING.fullmatch(line)
            if opening is not None:
                call = self._read_call(opening[1])
                if call is not None:
                    yield Part(call, self._condition)
            elif not self._is_condition(line):
                self._check_places(line, self._next)
                yield Part(line, self._condition)
        if self._condition is not None:
            self._fault("this {{if}} has no {{end}}", self._opened)

    def _fault(self, message: str, line: int | None = None) -> None:
        self._faults.append(Fault(self._next if line is None else line, message))

    def _is_condition(self, line: str) -> bool:
        """Whether the line begins or ends a condition."""
        if line == "{{end}}":
            if self._condition is None:
                self._fault("{{end}} without an {{if}} before it")
            self._condition = None
            return True
        if not line.startswith("{{if"):
            return False
        match = _IF.fullmatch(line)
        if match is None:
            self._fault(f"{quote(line)} stands alone in its line, as {_IF_FORMS}")
            return True
        if self._condition is not None:
            self._fault(f"an {{{{if}}}} in the one of line {self._opened}: they do not nest")
        self._check_condition(match)
        self._condition, self._opened = Condition(match[1], match[2]), self._next
        return True

    def _check_condition(self, match: re.Match[str]) -> None:
        argument = self._names.get(match[1])
        if argument is None:
            self._fault(f"no argument {quote(match[1])}. {explain_choice(match[1], self._names)}")
        elif match[2] is not None and argument.choices and match[2] not in argument.choices:
            choice = explain_choice(match[2], argument.choices)
            self._fault(f"{argument.name} is never {quote(match[2])}. {choice}")

    def _read_call(self, tool: str) -> Call | None:
        begun = self._next
        try:
            end = self._lines.index("```", begun)
        except ValueError:
            self._fault("this block has no end: a line of three backticks", begun)
            self._next = len(self._lines)
            return None
        self._next = end + 1
        if tool not in TOOLS:
            self._fault(f"no tool {quote(tool)}. {explain_choice(tool, TOOLS)}", begun)
            return None
        try:
            arguments = json.loads("\n".join(self._lines[begun:end]))
        except json.JSONDecodeError as error:
            self._fault(f"no JSON: {error.msg}", begun + error.lineno)
            return None
        if not isinstance(arguments, dict):
            self._fault("the arguments of a tool are one JSON object", begun)
            return None
        allowed = TOOLS[tool].arguments.names()
        for name in arguments:
            if name not in allowed:
                choice = explain_choice(name, allowed)
                self._fault(f"{tool} has no argument {quote(name)}. {choice}", begun)
        for number in range(begun, end):
            self._check_places(self._lines[number], number + 1, is_call=True)
        return Call(tool, arguments, begun)

    def _check_places(self, line: str, number: int, *, is_call: bool = False) -> None:
        """Refuse places of no argument, and in text those that may stay empty."""
        for name in PLACE.findall(line):
            argument = self._names.get(name)
            if argument is None:
                self._fault(
                    f"no argument {quote(name)}. {explain_choice(name, self._names)}", number
                )
            elif not is_call and not self._is_filled(argument):
                asked = f"{{{{if {name}}}}} and {{{{end}}}}"
                self._fault(f"{name} may be missing: put the line between {asked}", number)

    def _is_filled(self, argument: Argument) -> bool:
        has_value = argument.is_required or argument.default is not None
        return has_value or (self._condition or Condition("")).argument == argument.name
