"""The dependencies of tools, prompts, resources and completions, built once per server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.rendering.answer import Writer, write_answer
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.rendering.document import TOOL_WORDS, Words
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What every call needs; one per server. A call's caller is passed beside it."""

    settings: Settings
    backend: Callable[[], Awaitable[Backend]]
    """Returns the open backend; the first call opens it."""
    clock: Callable[[], datetime]
    hiding_key: bytes | None = field(default=None, repr=False)
    """The key of the e-mail mask; None if addresses are not masked."""
    charts: ChartRenderer = field(default_factory=ChartRenderer)
    words: Words = TOOL_WORDS
    """The terms in which answers name the next request."""
    write: Writer = write_answer
    """Turns a document into an answer; the command `ask` has formats of its own."""
    has_links: bool = True
    """Whether a cut answer names the resource with all rows; `ask` serves no resources."""

    @property
    def options(self) -> ParserOptions:
        """The options for parsing arguments.

        Raises:
            SettingsError: if the operator's catalog file is invalid. Calls report it, because most
                clients show nothing of a server that fails to start.
        """
        return ParserOptions(
            catalog=load_catalog(self.settings.catalog),
            default_zone=self.settings.timezone,
            allow_unknown=self.settings.unknown_fields == "pass" and self.settings.is_remote,
        )
