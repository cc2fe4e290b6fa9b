"""What a template is: its arguments, and its text in parts of which some are calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gateway_metrics_mcp.query.vocabulary import DatasourceName

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
"""What a value has to be, and so how it is checked and completed. `compare` is what `compareTo`
takes, `field` a group-by field, `key` one of the metadata, `value` a value of a field."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a prompt; all values are text."""

    name: str
    description: str
    kind: Kind = "text"
    is_required: bool = False
    default: str | None = None
    choices: tuple[str, ...] = ()
    """What a `choice` may be."""
    field: str | None = None
    """The field whose value a `value` is."""
    of: str | None = None
    """The same, where it is the field or the key in another argument."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a part is shown: the argument is given, or has this very value."""

    argument: str
    value: str | None = None

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether it is so for these arguments."""
        given = values.get(self.argument)
        return given is not None and (self.value is None or given == self.value)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the prompt names; its texts may hold `{{argument}}`."""

    tool: str
    arguments: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of text, or one call."""

    body: str | Call
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """One prompt."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    parts: tuple[Part, ...]
    datasource: DatasourceName = "modelMetrics"
    """Where values of its arguments are looked up, if no argument says it."""

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call it can name."""
        return tuple(part.body for part in self.parts if isinstance(part.body, Call))

    def argument(self, name: str) -> Argument | None:
        """The argument of that name."""
        return next((one for one in self.arguments if one.name == name), None)

    def given(self, kind: Kind, values: Mapping[str, str]) -> str | None:
        """The value of the first argument of a kind that has one."""
        found = (values[a.name] for a in self.arguments if a.kind == kind and a.name in values)
        return next(found, None)
