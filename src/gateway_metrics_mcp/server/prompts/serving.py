"""The prompts as MCP shows them: the list, and one filled; what is wrong is a protocol error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, GetPromptResult, PromptMessage, TextContent
from mcp_types import Prompt as PublishedPrompt
from mcp_types import PromptArgument as PublishedArgument

from gateway_metrics_mcp.errors import InvalidQueryError, SettingsError
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.server.context import ToolContext
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.server.prompts.fill import fill
from gateway_metrics_mcp.server.prompts.model import Argument, Template

logger = logging.getLogger(__name__)

_MOST_PROBLEMS: Final = 20


class Prompts:
    """The templates of one server."""

    def __init__(self, templates: Mapping[str, Template], desk: ToolContext) -> None:
        self.templates = templates
        self._desk = desk
        self._published = [_publish(template) for template in templates.values()]

    def publish(self) -> list[PublishedPrompt]:
        """The prompts, always in the same order."""
        return self._published

    def get(self, name: str, raw: Mapping[str, Any] | None) -> GetPromptResult:
        """The text of a prompt as one message of the user.

        Raises:
            MCPError: if there is no such prompt, or with all that is wrong with its arguments.
        """
        mask = None if self._desk.hiding_key is None else EmailMask(self._desk.hiding_key)
        hide = (lambda text: text) if mask is None else mask.hide
        template = self.templates.get(name)
        if template is None:
            choice = did_you_mean(name, self.templates)
            raise MCPError(INVALID_PARAMS, hide(f"no prompt {quote(name)}. {choice}"))
        try:
            given = (raw or {}) if mask is None else mask.read(raw or {})
            text = fill(template, given, self._desk.terms(), self._desk.clock())
        except InvalidQueryError as error:
            lines = [f"- {problem}" for problem in error.problems[:_MOST_PROBLEMS]]
            more = len(error.problems) - _MOST_PROBLEMS
            rest = [f"and {more} more like these"] if more > 0 else []
            text = "\n".join([f"Invalid arguments for {name}:", *lines, *rest])
            raise MCPError(INVALID_PARAMS, hide(text)) from None
        except SettingsError as error:
            logger.warning("%s", error)
            raise MCPError(INTERNAL_ERROR, hide(error.public)) from None
        except Exception:
            logger.exception("prompt %s failed", quote(name))
            said = "a fault of this server; its log says more"
            raise MCPError(INTERNAL_ERROR, said) from None
        content = TextContent(type="text", text=hide(text))
        return GetPromptResult(
            description=template.description,
            messages=[PromptMessage(role="user", content=content)],
        )


def _publish(template: Template) -> PublishedPrompt:
    return PublishedPrompt(
        name=template.name,
        title=template.title,
        description=template.description,
        arguments=[
            PublishedArgument(
                name=argument.name,
                description=_describe(argument),
                required=argument.is_required,
            )
            for argument in template.arguments
        ],
    )


def _describe(argument: Argument) -> str:
    """What people read beside the field to fill."""
    choices = f": {' or '.join(argument.choices)}" if argument.choices else ""
    default = "" if argument.default is None else f"; default {argument.default}"
    return f"{argument.description}{choices}{default}"
