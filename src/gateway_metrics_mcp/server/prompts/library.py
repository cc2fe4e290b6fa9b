"""The prompts of a server, from the user's folder and the built-in one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, GetPromptResult, PromptMessage, TextContent
from mcp_types import Prompt as PublishedPrompt
from mcp_types import PromptArgument as PublishedArgument

from gateway_metrics_mcp.errors import InvalidQueryError, SettingsError
from gateway_metrics_mcp.query import DATASOURCES, SHARE, did_you_mean, quote
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.server.prompts import cut_lines, find_templates, list_problems
from gateway_metrics_mcp.server.prompts.fill import fill, fill_call, read_values
from gateway_metrics_mcp.server.prompts.template import (
    PLACE,
    Argument,
    Fault,
    Kind,
    Template,
    read_template,
)
from gateway_metrics_mcp.server.tools import TOOLS, ToolContext

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 100_000
_MOST_FILES: Final = 200
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
"""Kinds on which a call's validity depends: it cannot be checked with a sample value."""


class Prompts:
    """The templates of one server: the user's first, which override built-in ones by name.

    Raises:
        SettingsError: with every fault of every file, by file and line.
    """

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        faults: list[str] = []
        own = _read_folder(_list_own(context.settings.prompts), faults, context)
        ours, our_faults = _read_built_in()
        faults += our_faults
        if faults:
            raise SettingsError("\n".join(["the prompts:", *cut_lines(faults)]))
        self.templates = {**own, **{name: ours[name] for name in ours if name not in own}}

    def publish(self) -> list[PublishedPrompt]:
        """The prompts for `prompts/list`, always in the same order."""
        return [
            PublishedPrompt(
                name=template.name,
                title=template.front.title,
                description=template.front.description,
                arguments=[
                    PublishedArgument(
                        name=argument.name,
                        description=_describe(argument),
                        required=argument.is_required,
                    )
                    for argument in template.arguments
                ],
            )
            for template in self.templates.values()
        ]

    def get(self, name: str, raw: Mapping[str, Any]) -> GetPromptResult:
        """Fill in a prompt, as one message of the user.

        Raises:
            MCPError: if there is no such prompt, or with every problem of its arguments.
        """
        mask = EmailMask(self._context.hiding_key)
        template = self.templates.get(name)
        if template is None:
            shown = quote(mask.hide(name))
            choice = did_you_mean(name, self.templates)
            raise MCPError(INVALID_PARAMS, f"no prompt {shown}. {choice}")
        try:
            given = mask.read(raw)
            text = fill(template, given, self._context.options, self._context.clock())
        except InvalidQueryError as error:
            raise MCPError(INVALID_PARAMS, mask.hide(list_problems(name, error))) from None
        except SettingsError as error:
            logger.warning("%s", error)
            raise MCPError(INTERNAL_ERROR, mask.hide(error.public)) from None
        except Exception:
            logger.exception("prompt %s failed", quote(name))
            said = "an internal error of this server; see its log"
            raise MCPError(INTERNAL_ERROR, said) from None
        content = TextContent(type="text", text=mask.hide(text))
        return GetPromptResult(
            description=template.front.description,
            messages=[PromptMessage(role="user", content=content)],
        )


def _describe(argument: Argument) -> str:
    """The argument's description, with its choices and default, which MCP has no fields for."""
    choices = f": {' or '.join(argument.choices)}" if argument.choices else ""
    default = "" if argument.default is None else f"; default {argument.default}"
    return f"{argument.description}{choices}{default}"


def _list_own(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise SettingsError(f"the prompts folder {folder} is not a directory")
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise SettingsError(f"the prompts folder {folder} has no file <name>.md")
    if len(paths) > _MOST_FILES:
        raise SettingsError(f"the prompts folder {folder} has more than {_MOST_FILES} files")
    return paths


@cache
def _read_built_in() -> tuple[Mapping[str, Template], Sequence[str]]:
    """The built-in templates, which a test checks for use, and their faults."""
    faults: list[str] = []
    return _read_folder(find_templates(), faults), faults


def _read_folder(
    paths: Sequence[Path], faults: list[str], context: ToolContext | None = None
) -> dict[str, Template]:
    """The templates by name; with a context, each is checked for use."""
    found: dict[str, Template] = {}
    for path in paths:
        wrong: list[Fault] = []
        text = _read_file(path, wrong)
        template = None if text is None else read_template(path.stem, text, wrong)
        if template is not None:
            found[path.stem] = template
            if not wrong and context is not None:
                wrong += _check_use(template, context)
        faults += [f"{path}, line {one.line}: {one.message}" for one in wrong]
    return found


def _read_file(path: Path, faults: list[Fault]) -> str | None:
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would block for a writer
            faults.append(Fault(1, "cannot be read: not a regular file"))
            return None
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) <= _MOST_BYTES:
            return raw.decode("utf-8-sig")
        faults.append(Fault(1, f"more than {_MOST_BYTES} bytes"))
    except UnicodeDecodeError as error:
        faults.append(Fault(error.object[: error.start].count(b"\n") + 1, "not UTF-8 text"))
    except OSError as error:
        faults.append(Fault(1, f"cannot be read: {error.strerror}"))
    return None


def _check_use(template: Template, context: ToolContext) -> list[Fault]:
    """Faults that would show only in use: invalid defaults, and invalid calls with all arguments.

    They are found at start-up, because the author of a folder reads errors there.
    """
    options, now = context.options, context.clock()
    samples = {argument.name: _sample(argument) for argument in template.arguments}
    required = [one for one in template.arguments if one.is_required]
    needed = {name: samples[name] for one in required for name in (one.name, one.of) if name}
    faults: list[Fault] = []
    try:
        read_values(template, needed, options, now)
    except InvalidQueryError as error:
        faults += [Fault(1, f"the default of {one}") for one in error.problems]
    is_open = {one.name for one in template.arguments if one.kind in _OPEN_KINDS}
    for call in template.calls:
        # JSON escapes no brace, so the places of a call can be found in its text.
        if is_open & {*PLACE.findall(json.dumps(call.arguments))}:
            continue
        try:
            TOOLS[call.tool].read(fill_call(call, samples), options, now)
        except InvalidQueryError as error:
            faults += [Fault(call.line, f"{call.tool}: {one}") for one in error.problems]
    return faults


def _sample(argument: Argument) -> str:
    if argument.default is not None:
        return argument.default
    return argument.choices[0] if argument.choices else _SAMPLES.get(argument.kind, "x")
