"""The MCP server: the registry, a backend, and errors as results a model can read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from mcp.server import CacheHint
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as PublishedTool

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.answers.answer import Answer
from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.backends.measured import MeasuredBackend
from gateway_metrics_mcp.backends.opening import Opening, open_probe
from gateway_metrics_mcp.call_record import watch_call
from gateway_metrics_mcp.callers_guard import caller_of
from gateway_metrics_mcp.errors import (
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    SettingsError,
)
from gateway_metrics_mcp.hiding_key import read_hiding_key
from gateway_metrics_mcp.metering import OK, Meter
from gateway_metrics_mcp.progress import report_while
from gateway_metrics_mcp.prompts import read_prompt
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.question import Terms
from gateway_metrics_mcp.readiness import Readiness
from gateway_metrics_mcp.settings import Settings
from gateway_metrics_mcp.tools import TOOLS, Desk

logger = logging.getLogger(__name__)

NAME: Final = "gateway-metrics"
_UNKNOWN: Final = "unknown"
"""In counts and logs, for a tool that is none: its name is whatever the client wrote."""
_MOST_PROBLEMS: Final = 20
_MOST_LETTERS: Final = 1_000
"""Of one problem: an error is read by a model, whose room it must not fill."""
_LISTS_FRESH_MS: Final = 3_600_000
"""The lists change only with a new version: clients may keep them for an hour."""


class MetricsServer(MCPServer[None]):
    """An MCP server whose tools are the registry's.

    The SDK's own argument models would drop unknown arguments and speak of pydantic, so the
    call goes to the registry as it came. Every answer is one text block. `hold` keeps the backend
    open between calls.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        hold: Callable[[], AbstractAsyncContextManager[None]],
        meter: Meter,
        readiness: Readiness,
        log_level: Any = "WARNING",
    ) -> None:
        self._desk = desk
        self.hold = hold
        self.meter = meter
        self.readiness = readiness
        self.is_served = False
        """Whether it answers over HTTP, where each request says who asks."""
        self._published = [tool.publish() for tool in TOOLS.values()]
        super().__init__(
            NAME,
            title="Gateway metrics",
            version=__version__,
            instructions=read_prompt("instructions"),
            lifespan=lambda _: hold(),
            log_level=log_level,
            subscriptions=False,
            cache_hints={"tools/list": CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public")},
        )

    async def list_tools(self) -> list[PublishedTool]:
        """The tools, always in the same order."""
        return self._published

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[None, Any] | None = None,
    ) -> CallToolResult:
        """The answer as one text block; a failure is an error result, never a protocol error."""

        async def respond() -> tuple[Answer, str]:
            return await self._respond(name, arguments, context)

        with watch_call(name if name in TOOLS else _UNKNOWN, self.meter) as call:
            if context is None:
                answer, call.code = await respond()
            else:
                answer, call.code = await report_while(respond, context.report_progress)
            call.size = len(answer.text.encode("utf-8", "replace"))
        content = [TextContent(type="text", text=answer.text)]
        return CallToolResult(content=content, is_error=call.code != OK)

    async def _respond(
        self, name: str, arguments: Mapping[str, Any], context: Context[None, Any] | None
    ) -> tuple[Answer, str]:
        """The answer or what is wrong, and the code of the outcome."""
        try:
            caller = caller_of(context, is_served=self.is_served)
            return await self._answer(name, arguments, caller), OK
        except InvalidQueryError as error:
            return Answer(_list_problems(name, error)), error.code
        except SettingsError as error:
            logger.warning("%s", error)
            return Answer(f"Error ({error.code}): {error.public}"), error.code
        except GatewayMetricsError as error:
            return Answer(f"Error ({error.code}): {error}"), error.code
        except Exception:
            logger.exception("tool %s failed", quote(name))
            text = "Error (internal): a fault of this server; its log says more."
            return Answer(text), InternalError.code

    async def _answer(self, name: str, arguments: Mapping[str, Any], caller: Caller) -> Answer:
        tool = TOOLS.get(name)
        if tool is None:
            raise _UnknownToolError(f"no tool {quote(name)}. {explain_choice(name, TOOLS)}")
        return await tool.answer(self._desk, arguments, caller)


class _UnknownToolError(GatewayMetricsError):
    code = "unknown_tool"


def _list_problems(name: str, error: InvalidQueryError) -> str:
    """Every problem a line, unless there are very many."""
    lines = [f"- {problem}"[:_MOST_LETTERS] for problem in error.problems[:_MOST_PROBLEMS]]
    more = len(error.problems) - _MOST_PROBLEMS
    rest = [f"and {more} more like these"] if more > 0 else []
    return "\n".join([f"Invalid arguments for {name}:", *lines, *rest])


def build_server(
    settings: Settings,
    *,
    backend: Backend | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> MetricsServer:
    """The server of these settings; nothing is opened before the first question.

    `backend`, where given, answers instead of the one that the settings name; it is then the
    caller's to close.
    """
    if settings.transport != "stdio" and not settings.shared_token:
        settings = settings.model_copy(update={"token": None})  # callers bring their own
    meter = Meter()
    opening = Opening(settings, clock, meter)
    get = opening.get if backend is None else _give(MeasuredBackend(backend, meter))
    readiness = Readiness(open_probe(settings, get, clock), meter)
    desk = Desk(
        partial(_read_terms, settings),
        get,
        clock,
        settings.budget,
        settings.all_row,
        settings.calls,
        hiding_key=read_hiding_key(settings),
    )
    return MetricsServer(
        desk,
        hold=opening.hold,
        meter=meter,
        readiness=readiness,
        log_level=settings.log_level,
    )


def _read_terms(settings: Settings) -> Terms:
    return Terms(
        catalog=load_catalog(settings.catalog),
        default_zone=settings.timezone,
        allow_unknown=settings.unknown_fields == "pass" and settings.is_remote,
    )


def _give(backend: Backend) -> Callable[[], Awaitable[Backend]]:
    async def get() -> Backend:
        return backend

    return get
