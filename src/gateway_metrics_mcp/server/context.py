"""What tools, prompts, resources and completions need to answer."""

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
    """One for a server, the same for all calls."""

    settings: Settings
    backend: Callable[[], Awaitable[Backend]]
    """The open backend: it is opened when the first question comes."""
    clock: Callable[[], datetime]
    hiding_key: bytes | None = field(default=None, repr=False)
    """Where there is one, hashes stand for e-mail addresses."""
    charts: ChartRenderer = field(default_factory=ChartRenderer)
    words: Words = TOOL_WORDS
    """How whoever reads the answers asks on."""
    write: Writer = write_answer
    """What makes an answer of a document."""
    has_links: bool = True
    """Whether a cut answer names the resource that has all rows."""

    @property
    def options(self) -> ParserOptions:
        """How arguments are read.

        Raises:
            SettingsError: if the operator's catalog file is wrong. That is the answer to a call,
                which people read, and no failed start, of which most clients show nothing.
        """
        return ParserOptions(
            catalog=load_catalog(self.settings.catalog),
            default_zone=self.settings.timezone,
            allow_unknown=self.settings.unknown_fields == "pass" and self.settings.is_remote,
        )
