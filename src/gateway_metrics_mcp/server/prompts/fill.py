"""A template and its arguments -> the text, whose calls are ready to be made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.prompts.arguments import read_values
from gateway_metrics_mcp.server.prompts.model import Call, Template
from gateway_metrics_mcp.server.prompts.parser import PLACE

_MISSING: Final = object()
_BARE: Final = ("number", "choice")
_BLANK: Final = re.compile(r"\n{3,}")


def fill(template: Template, raw: Mapping[str, Any], terms: ParserOptions, now: datetime) -> str:
    """The text for these arguments.

    Raises:
        InvalidQueryError: with every problem of the arguments.
    """
    values = read_values(template, raw, terms, now)
    lines: list[str] = []
    for part in template.parts:
        if part.condition is not None and not part.condition.holds(values):
            continue
        if isinstance(part.body, Call):
            arguments = json_text(fill_call(part.body, values))
            lines += [f"```json {part.body.tool}", arguments, "```"]
        else:
            lines.append(_fill_line(part.body, template, values))
    return _BLANK.sub("\n\n", "\n".join(lines)).strip()


def fill_call(call: Call, values: Mapping[str, str]) -> dict[str, Any]:
    """The call's arguments; what names an argument that is not given is left out whole."""
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
    """A line of text; what the asker wrote freely is quoted, so that it cannot pass for ours."""

    def show(match: re.Match[str]) -> str:
        argument, value = template.argument(match[1]), values[match[1]]
        return value if argument is not None and argument.kind in _BARE else json_text(value)

    return PLACE.sub(show, line)


def json_text(value: Any) -> str:
    """JSON on one line in which nothing is invisible."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
