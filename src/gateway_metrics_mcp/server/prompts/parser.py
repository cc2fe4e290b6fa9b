"""The front matter of a template: TOML with a title, a description and the arguments."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, DatasourceName
from gateway_metrics_mcp.server.prompts.model import (
    KINDS,
    Argument,
    Call,
    Condition,
    Part,
    Template,
)
from gateway_metrics_mcp.server.tools import TOOLS

MOST_LETTERS: Final = 256
"""Of a title, of a description, and of an argument's value."""
_KEYS: Final = ("title", "description", "datasource", "arguments")
_ARGUMENT_KEYS: Final = (
    *("name", "description", "kind", "required", "default", "choices", "field", "of"),
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOML_LINE: Final = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")
_ENTRY: Final = re.compile(r"\s*\[\[\s*arguments\s*\]\]")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a file, and in which line."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Front:
    """What the front matter says."""

    title: str
    description: str
    datasource: DatasourceName
    arguments: tuple[Argument, ...]


def read_front(head: list[str], faults: list[Fault]) -> Front | None:
    """The front matter, whose first line is the second of the file; None if it is no TOML.

    What is wrong is added to `faults`.
    """
    try:
        raw = tomllib.loads("\n".join(head))
    except tomllib.TOMLDecodeError as error:
        match = _TOML_LINE.search(str(error))
        line = len(head) + 1 if match is None or match[1] is None else int(match[1]) + 1
        faults.append(Fault(line, f"no TOML: {_TOML_LINE.sub('', str(error))}"))
        return None
    reader = _Reader(head, faults)
    return reader.read(raw)


class _Reader:
    """Reads the table; knows in which line each key stands."""

    def __init__(self, head: list[str], faults: list[Fault]) -> None:
        self._head = head
        self._faults = faults
        self._entries = [n for n, line in enumerate(head) if _ENTRY.match(line)]

    def read(self, raw: Mapping[str, Any]) -> Front:
        self._check_keys(raw, _KEYS, None)
        datasource = self._text(raw, "datasource", None, default=DATASOURCES[0])
        if datasource not in DATASOURCES:
            choice = did_you_mean(datasource, DATASOURCES)
            self._fault("datasource", None, f"{quote(datasource)} is unknown. {choice}")
        entries = raw.get("arguments", [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            self._fault("arguments", None, "the arguments are tables: [[arguments]]")
            entries = []
        arguments = [self._argument(entry, number) for number, entry in enumerate(entries)]
        self._check_relations(arguments)
        known = next((name for name in DATASOURCES if name == datasource), DATASOURCES[0])
        title = self._text(raw, "title", None)
        return Front(title, self._text(raw, "description", None), known, tuple(arguments))

    def _fault(self, key: str, entry: int | None, message: str) -> None:
        self._faults.append(Fault(self._line(key, entry), message))

    def _line(self, key: str, entry: int | None) -> int:
        """Where a key stands, in the file's lines; else where its table begins."""
        starts = [-1, *self._entries, len(self._head)]
        place = 0 if entry is None else min(entry + 1, len(starts) - 2)
        first, end = starts[place], starts[place + 1]
        for number in range(max(first, 0), end):
            if re.match(rf"\s*{re.escape(key)}\s*=", self._head[number]):
                return number + 2
        return first + 2

    def _check_keys(
        self, raw: Mapping[str, Any], allowed: tuple[str, ...], entry: int | None
    ) -> None:
        for key in raw:
            if key not in allowed:
                choice = did_you_mean(key, allowed)
                self._fault(key, entry, f"unknown key {quote(key)}. {choice}")

    def _text(
        self, raw: Mapping[str, Any], key: str, entry: int | None, default: str | None = None
    ) -> str:
        """The text of a key; one without a default is needed."""
        value = raw.get(key, default)
        if value is None:
            self._fault(key, entry, f"{key} is missing: one line of text")
        elif not isinstance(value, str) or not value.strip():
            self._fault(key, entry, f"{key}: expected text, got {quote(value)}")
        elif len(value) > MOST_LETTERS or not value.isprintable():
            self._fault(key, entry, f"{key}: one line of at most {MOST_LETTERS} letters")
        else:
            return value
        return default or ""

    def _optional(self, raw: Mapping[str, Any], key: str, entry: int) -> str | None:
        return self._text(raw, key, entry) if key in raw else None

    def _argument(self, raw: Mapping[str, Any], entry: int) -> Argument:
        self._check_keys(raw, _ARGUMENT_KEYS, entry)
        name = self._text(raw, "name", entry)
        if name and _NAME.fullmatch(name) is None:
            self._fault("name", entry, f"{quote(name)} is no name: a-z, 0-9 and _")
        kind = self._text(raw, "kind", entry, default="text")
        if kind not in KINDS:
            self._fault("kind", entry, f"{quote(kind)} is unknown. {did_you_mean(kind, KINDS)}")
        is_required = raw.get("required", False)
        if not isinstance(is_required, bool):
            self._fault("required", entry, f"required: true or false, got {quote(is_required)}")
        choices = raw.get("choices", [])
        if not isinstance(choices, list) or not all(isinstance(c, str) and c for c in choices):
            self._fault("choices", entry, 'choices: a list of texts, such as ["chat", "full"]')
            choices = []
        return Argument(
            name=name,
            description=self._text(raw, "description", entry),
            kind=next((known for known in KINDS if known == kind), "text"),
            is_required=is_required is True,
            default=self._optional(raw, "default", entry),
            choices=tuple(choices),
            field=self._optional(raw, "field", entry),
            of=self._optional(raw, "of", entry),
        )

    def _check_relations(self, arguments: list[Argument]) -> None:
        """What the keys of an argument say of each other and of other arguments."""
        names = [argument.name for argument in arguments]
        sources = [a.name for a in arguments if a.kind in ("key", "field")]
        for entry, one in enumerate(arguments):
            if one.name in names[:entry]:
                self._fault("name", entry, f"{quote(one.name)} is there twice")
            if one.is_required and one.default is not None:
                self._fault("default", entry, "an argument is required, or has a default")
            if (one.kind == "choice") != bool(one.choices):
                self._fault("choices", entry, 'kind = "choice" and choices go together')
            elif one.choices and one.default not in (None, *one.choices):
                choice = did_you_mean(str(one.default), one.choices)
                self._fault("default", entry, f"{quote(one.default)} is no choice. {choice}")
            if (one.kind == "value") != ((one.field is None) != (one.of is None)):
                said = 'kind = "value" needs either field, or of; no other kind has them'
                self._fault("kind", entry, said)
            elif one.of is not None and one.of not in sources:
                allowed = f"of: an argument of kind key or field. {did_you_mean(one.of, sources)}"
                self._fault("of", entry, allowed)


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
            self._fault(f"no argument {quote(match[1])}. {did_you_mean(match[1], self._names)}")
        elif match[2] is not None and argument.choices and match[2] not in argument.choices:
            choice = did_you_mean(match[2], argument.choices)
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
            self._fault(f"no tool {quote(tool)}. {did_you_mean(tool, TOOLS)}", begun)
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
                choice = did_you_mean(name, allowed)
                self._fault(f"{tool} has no argument {quote(name)}. {choice}", begun)
        for number in range(begun, end):
            self._check_places(self._lines[number], number + 1, is_call=True)
        return Call(tool, arguments, begun)

    def _check_places(self, line: str, number: int, *, is_call: bool = False) -> None:
        """Refuse places of no argument, and in text those that may stay empty."""
        for name in PLACE.findall(line):
            argument = self._names.get(name)
            if argument is None:
                self._fault(f"no argument {quote(name)}. {did_you_mean(name, self._names)}", number)
            elif not is_call and not self._is_filled(argument):
                asked = f"{{{{if {name}}}}} and {{{{end}}}}"
                self._fault(f"{name} may be missing: put the line between {asked}", number)

    def _is_filled(self, argument: Argument) -> bool:
        has_value = argument.is_required or argument.default is not None
        return has_value or (self._condition or Condition("")).argument == argument.name
