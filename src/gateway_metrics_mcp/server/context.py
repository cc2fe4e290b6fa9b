"""Settings -> the desk that answers tool calls, for the server and for the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.rendering.answer import Answer
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.masking import EmailMask, MaskingBackend, read_hiding_key
from gateway_metrics_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool needs to answer: opened by the server, the same for all calls."""

    terms: Callable[[], ParserOptions]
    backend: Callable[[], Awaitable[Backend]]
    clock: Callable[[], datetime]
    budget: int
    has_all_row: bool
    most_calls: int
    hiding_key: bytes | None = field(default=None, repr=False)
    """Where there is one, hashes stand for e-mail addresses."""
    painter: ChartRenderer = field(default_factory=ChartRenderer)
    has_view: bool = False
    """Whether answers bring what an interactive view of them draws."""
    has_links: bool = True
    """Whether a cut answer names the resource that has all rows."""


async def hide_addresses(
    desk: ToolContext, raw: Any, work: Callable[[ToolContext, Any], Awaitable[Answer]]
) -> Answer:
    """The answer of `work`; if addresses are to be hidden, in all that it is given and gives.

    Raises:
        GatewayMetricsError: as `work` does.
    """
    if desk.hiding_key is None:
        return await work(desk, raw)
    mask = EmailMask(desk.hiding_key)

    async def hide() -> Backend:
        return MaskingBackend(await desk.backend(), mask, desk.terms().catalog)

    try:
        answer = await work(replace(desk, backend=hide), mask.read(raw))
    except GatewayMetricsError as error:
        mask.hide_error(error)
        raise
    notes = [*map(mask.hide, answer.notes)]
    return replace(answer, text=mask.hide(answer.text), notes=notes, view=mask.read(answer.view))


def build_context(
    settings: Settings, backend: Callable[[], Awaitable[Backend]], clock: Callable[[], datetime]
) -> ToolContext:
    """The desk of these settings; it opens nothing but the key of hidden addresses.

    Raises:
        SettingsError: if that key cannot be had.
    """
    return ToolContext(
        partial(_read_terms, settings),
        backend,
        clock,
        settings.budget,
        settings.all_row,
        settings.calls,
        hiding_key=read_hiding_key(settings),
        has_view=settings.ui,
    )


def _read_terms(settings: Settings) -> ParserOptions:
    return ParserOptions(
        catalog=load_catalog(settings.catalog),
        default_zone=settings.timezone,
        allow_unknown=settings.unknown_fields == "pass" and settings.is_remote,
    )
