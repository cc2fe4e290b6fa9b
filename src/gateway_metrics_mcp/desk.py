"""Settings -> the desk that answers tool calls, for the server and for the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.hiding_key import read_hiding_key
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.question import Terms
from gateway_metrics_mcp.settings import Settings
from gateway_metrics_mcp.tools import Desk


def open_desk(
    settings: Settings, backend: Callable[[], Awaitable[Backend]], clock: Callable[[], datetime]
) -> Desk:
    """The desk of these settings; it opens nothing but the key of hidden addresses.

    Raises:
        SettingsError: if that key cannot be had.
    """
    return Desk(
        partial(_read_terms, settings),
        backend,
        clock,
        settings.budget,
        settings.all_row,
        settings.calls,
        hiding_key=read_hiding_key(settings),
        has_view=settings.ui,
    )


def _read_terms(settings: Settings) -> Terms:
    return Terms(
        catalog=load_catalog(settings.catalog),
        default_zone=settings.timezone,
        allow_unknown=settings.unknown_fields == "pass" and settings.is_remote,
    )
