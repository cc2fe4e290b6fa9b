"""The template language of prompts: TOML between two lines of `+++`, then Markdown.

The Markdown may hold `{{argument}}`, `{{if}}` with `{{end}}`, and tool calls as JSON blocks.
"""

# Why not Jinja: a call leaves out every filter that names an argument which is not given, a rule
# over JSON values that a text template cannot state. What Jinja could take over (places and
# conditions) is a tenth of this file. Nothing here evaluates expressions, so a user's file needs
# no sandbox, and the folders that users have keep working.

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
)

from gateway_metrics_mcp.query import DATASOURCES, DatasourceName, did_you_mean, quote
from gateway_metrics_mcp.server.tools import TOOLS

MOST_LETTERS: Final = 256
"""The length of a title, a description, and an argument's value."""

PLACE: Final = re.compile(r"\{\{([^{}]*)\}\}")
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FENCE: Final = "+++"
_CALL: Final = re.compile(r"```json (\S+)\s*")
_IF: Final = re.compile(r"\{\{if ([a-z_0-9]+)(?: = ([^{}]+))?\}\}")
_TOML_LINE: Final = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")
_TABLE: Final = re.compile(r"\s*\[\[\s*arguments\s*\]\]")

Kind = Literal[
    "text",
    "number",
    "choice",
    "range",
    "compare",
    "zone",
    "datasource",
    "field",
    "measure",
    "key",
    "value",
]
"""The kind of an argument, by which it is validated and completed. `compare` is what `compareTo`
accepts, `field` a group-by field, `key` a metadata key, `value` a value of a field."""


def _check_line(text: str) -> str:
    if len(text) > MOST_LETTERS or not text.isprintable():
        raise ValueError(f"one line of at most {MOST_LETTERS} characters")
    return text


_Line = Annotated[str, StringConstraints(pattern=r"\S"), AfterValidator(_check_line)]


class Argument(BaseModel):
    """One argument of a prompt. Values are always text, as MCP requires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,63}$")]
    description: _Line
    kind: Kind = "text"
    is_required: StrictBool = Field(False, alias="required")
    default: _Line | None = None
    choices: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """The allowed values of kind `choice`."""
    field: _Line | None = None
    """The field that a `value` is a value of."""
    of: _Line | None = None
    """The argument that names that field or metadata key, instead of `field`."""


class FrontMatter(BaseModel):
    """The TOML between the two `+++`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: _Line
    description: _Line
    datasource: DatasourceName = "modelMetrics"
    """The datasource in which arguments are looked up, unless an argument selects one."""
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """When a part is shown: the argument is given, or equals `value`."""

    line: int
    argument: str
    value: str | None = None

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether the condition is true for these arguments."""
        given = values.get(self.argument)
        return given is not None and (self.value is None or given == self.value)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in the prompt; its strings may contain `{{argument}}`."""

    line: int
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A line of text, or one call."""

    body: str | Call
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """One prompt."""

    name: str
    front: FrontMatter
    parts: tuple[Part, ...] = ()

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments, in the order of the file."""
        return self.front.arguments

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call of the template, whatever its condition."""
        return tuple(part.body for part in self.parts if isinstance(part.body, Call))

    def argument(self, name: str) -> Argument | None:
        """The argument of that name."""
        return next((one for one in self.arguments if one.name == name), None)

    def given(self, kind: Kind, values: Mapping[str, str]) -> str | None:
        """The value of the first argument of a kind that has one."""
        found = (values[a.name] for a in self.arguments if a.kind == kind and a.name in values)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem in a file, with its line from 1."""

    line: int
    message: str


def read_template(name: str, text: str, faults: list[Fault]) -> Template | None:
    """Parse a template file; None if its front matter is invalid.

    All problems are appended to `faults`, so that one run reports every one of them.
    """
    if NAME.fullmatch(name) is None:
        faults.append(Fault(1, f"{quote(name)} is not a name: a-z, 0-9 and -, from a letter on"))
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != _FENCE:
        said = f"the first line must be {_FENCE}, then TOML, then {_FENCE} again"
        faults.append(Fault(1, said))
        return None
    end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == _FENCE), None)
    if end is None:
        faults.append(Fault(1, f"the front matter has no end: a line {_FENCE}"))
        return None
    front = _read_front(lines[1:end], faults)
    # The body is read even with an invalid front matter, to report its faults too.
    arguments = None if front is None else {one.name: one for one in front.arguments}
    parts = tuple(_BodyReader(lines, end + 1, arguments, faults).read())
    return None if front is None else Template(name, front, parts)


def _read_front(head: list[str], faults: list[Fault]) -> FrontMatter | None:
    try:
        raw = tomllib.loads("\n".join(head))
    except tomllib.TOMLDecodeError as error:
        match = _TOML_LINE.search(str(error))
        line = len(head) + 1 if match is None or match[1] is None else int(match[1]) + 1
        faults.append(Fault(line, f"not TOML: {_TOML_LINE.sub('', str(error))}"))
        return None
    try:
        front = FrontMatter.model_validate(raw)
    except ValidationError as error:
        faults += [Fault(_find_line(head, one["loc"]), _explain(one)) for one in error.errors()]
        return None
    found = len(faults)
    for entry, key, message in _check_relations(front.arguments):
        faults.append(Fault(_find_line(head, ("arguments", entry, key)), message))
    return front if len(faults) == found else None


def _find_line(head: Sequence[str], place: Sequence[int | str]) -> int:
    """The file's line with the key at a Pydantic location; else where its table begins.

    `tomllib` does not keep line numbers, so the key is searched in the text.
    """
    tables = [n for n, line in enumerate(head) if _TABLE.match(line)]
    starts = [0, *tables, len(head)]
    is_of_argument = len(place) > 1
    # Arguments can be written inline, without a table of their own.
    table = min(int(place[1]) + 1, len(starts) - 2) if is_of_argument else 0
    key = place[2] if len(place) > 2 else place[0]
    for number in range(starts[table], starts[table + 1]):
        if re.match(rf"\s*{re.escape(str(key))}\s*=", head[number]):
            return number + 2
    return starts[table] + 2 if is_of_argument else 1


_EXPECTED: Final = {
    "arguments": "tables, [[arguments]]",
    "choices": 'a list of texts, such as ["chat", "full"]',
    "required": "true or false",
}


def _explain(wrong: Any) -> str:
    """A Pydantic error in the terms of the file's author."""
    place, value = wrong["loc"], quote(wrong["input"])
    is_of_argument = len(place) > 2
    key = place[2] if is_of_argument else place[0]
    match wrong["type"]:
        case "missing":
            return f"{key} is missing: one line of text"
        case "extra_forbidden":
            fields = (Argument if is_of_argument else FrontMatter).model_fields
            names = [field.alias or name for name, field in fields.items()]
            return f"unknown key {quote(key)}. {did_you_mean(key, names)}"
        case "literal_error":
            allowed = get_args(Kind) if key == "kind" else DATASOURCES
            return f"{value} is unknown. {did_you_mean(str(wrong['input']), allowed)}"
        case "value_error":
            return f"{key}: {wrong['ctx']['error']}"
        case "string_pattern_mismatch" if key == "name":
            return f"{value} is not a name: a-z, 0-9 and _"
        case _:
            return f"{key}: expected {_EXPECTED.get(key, 'text')}, got {value}"


def _check_relations(arguments: Sequence[Argument]) -> Iterator[tuple[int, str, str]]:
    """Faults between keys of an argument, and between arguments: entry, key, message."""
    names = [argument.name for argument in arguments]
    sources = [a.name for a in arguments if a.kind in ("key", "field")]
    for entry, one in enumerate(arguments):
        if one.name in names[:entry]:
            yield entry, "name", f"{quote(one.name)} appears twice"
        if one.is_required and one.default is not None:
            yield entry, "default", "a required argument cannot have a default"
        if (one.kind == "choice") != bool(one.choices):
            yield entry, "choices", 'kind = "choice" and choices go together'
        elif one.choices and one.default not in (None, *one.choices):
            choice = did_you_mean(str(one.default), one.choices)
            yield entry, "default", f"{quote(one.default)} is not one of the choices. {choice}"
        if (one.kind == "value") != ((one.field is None) != (one.of is None)):
            yield entry, "kind", 'kind = "value" needs either field, or of; no other kind has them'
        elif one.of is not None and one.of not in sources:
            choice = did_you_mean(one.of, sources)
            yield entry, "of", f"of: an argument of kind key or field. {choice}"


class _BodyReader:
    """Reads the body of a template, line by line."""

    def __init__(
        self,
        lines: list[str],
        first: int,
        arguments: Mapping[str, Argument] | None,
        faults: list[Fault],
    ) -> None:
        self._lines = lines
        self._next = first
        self._arguments = arguments
        """None if the front matter is invalid: then names are not checked."""
        self._faults = faults
        self._condition: Condition | None = None

    def read(self) -> Iterator[Part]:
        if not any(line.strip() for line in self._lines[self._next :]):
            self._fault("there is no text after the front matter")
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip()
            self._next += 1
            if opening := _CALL.fullmatch(line):
                if call := self._read_call(opening[1]):
                    yield Part(call, self._condition)
            elif line == "{{end}}":
                if self._condition is None:
                    self._fault("{{end}} without an {{if}} before it")
                self._condition = None
            elif line.startswith("{{if"):
                self._open_condition(line)
            else:
                self._check_places(line)
                yield Part(line, self._condition)
        if self._condition is not None:
            self._fault("this {{if}} has no {{end}}", self._condition.line)

    def _fault(self, message: str, line: int | None = None) -> None:
        self._faults.append(Fault(line or self._next, message))

    def _find_argument(self, name: str, line: int | None = None) -> Argument | None:
        if self._arguments is None:
            return None
        if name not in self._arguments:
            choice = did_you_mean(name, self._arguments)
            self._fault(f"no argument {quote(name)}. {choice}", line)
        return self._arguments.get(name)

    def _open_condition(self, line: str) -> None:
        match = _IF.fullmatch(line)
        if match is None:
            forms = "{{if name}} or {{if name = value}}"
            self._fault(f"{quote(line)} must be alone on its line, as {forms}")
            return
        if self._condition is not None:
            said = (
                f"an {{{{if}}}} inside the one of line {self._condition.line}: they"
                f" cannot be nested"
            )
            self._fault(said)
        self._condition = Condition(self._next, match[1], match[2])
        argument = self._find_argument(match[1])
        choices = () if argument is None else argument.choices
        if match[2] and choices and match[2] not in choices:
            choice = did_you_mean(match[2], choices)
            self._fault(f"{match[1]} can never be {quote(match[2])}. {choice}")

    def _check_places(self, line: str) -> None:
        """Report places of unknown arguments, and of optional ones outside of their `{{if}}`."""
        for name in PLACE.findall(line):
            argument = self._find_argument(name)
            if argument is None or argument.is_required or argument.default is not None:
                continue
            if self._condition is None or self._condition.argument != name:
                asked = f"{{{{if {name}}}}} and {{{{end}}}}"
                self._fault(f"{name} may be missing: put the line between {asked}")

    def _read_call(self, tool: str) -> Call | None:
        begun = self._next
        try:
            end = self._lines.index("```", begun)
        except ValueError:
            self._fault("this block has no end: a line of three backticks")
            self._next = len(self._lines)
            return None
        self._next = end + 1
        if tool not in TOOLS:
            self._fault(f"no tool {quote(tool)}. {did_you_mean(tool, TOOLS)}", begun)
            return None
        try:
            arguments = json.loads("\n".join(self._lines[begun:end]))
        except json.JSONDecodeError as error:
            self._fault(f"not JSON: {error.msg}", begun + error.lineno)
            return None
        if not isinstance(arguments, dict):
            self._fault("the arguments of a tool are one JSON object", begun)
            return None
        allowed = TOOLS[tool].arguments.names()
        for name in arguments:
            if name not in allowed:
                choice = did_you_mean(name, allowed)
                self._fault(f"{tool} has no argument {quote(name)}. {choice}", begun)
        for number, line in enumerate(self._lines[begun:end], begun + 1):
            for name in PLACE.findall(line):
                self._find_argument(name, number)
        return Call(begun, tool, arguments)
