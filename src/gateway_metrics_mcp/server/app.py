"""The MCP server: the registry, a backend, and errors as results a model can read."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

from mcp.server import CacheHint
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CallToolResult,
    ContentBlock,
    GetPromptResult,
    ImageContent,
    ResourceTemplate,
    TextContent,
)
from mcp_types import Prompt as PublishedPrompt
from mcp_types import Resource as PublishedResource
from mcp_types import Tool as PublishedTool

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.auth.middleware import caller_of
from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.factory import BackendHolder, open_probe
from gateway_metrics_mcp.backends.middleware.instrumented import InstrumentedBackend
from gateway_metrics_mcp.errors import (
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    SettingsError,
)
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.rendering.answer import Answer
from gateway_metrics_mcp.runtime.logs import watch_call
from gateway_metrics_mcp.runtime.metrics import OK, Metrics
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.runtime.tasks import ShutdownScope, report_while
from gateway_metrics_mcp.server.completions import Completer, remember_request, serve_completions
from gateway_metrics_mcp.server.context import ToolContext, build_context
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.server.prompts.library import load_templates
from gateway_metrics_mcp.server.prompts.serving import Prompts
from gateway_metrics_mcp.server.resources import (
    NOTES_META,
    explain_refusal,
    find_resource,
    hide_uris,
    list_resources,
    list_templates,
)
from gateway_metrics_mcp.server.texts import read_prompt
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.server.view.page import VIEW_META, VIEW_URI, offer_view
from gateway_metrics_mcp.settings import Settings

logger = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Caller], Awaitable[Answer]]
Outcome: TypeAlias = tuple[Answer, str]
"""An answer or what is wrong, and the code of that."""

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
    call goes to the registry as it came. `hold` keeps the backend open between calls.
    """

    def __init__(
        self,
        desk: ToolContext,
        *,
        hold: Callable[[], AbstractAsyncContextManager[None]],
        meter: Metrics,
        readiness: Readiness,
        prompts: Prompts,
        log_level: Any = "WARNING",
    ) -> None:
        self._desk = desk
        self.hold = hold
        self.meter = meter
        self.readiness = readiness
        self._prompts = prompts
        self.calls = ShutdownScope()
        self.is_served = False
        """Whether it answers over HTTP, where each request says who asks."""
        view = VIEW_URI if desk.has_view else None
        self._published = [tool.publish(view) for tool in TOOLS.values()]
        super().__init__(
            NAME,
            title="Gateway metrics",
            version=__version__,
            instructions=read_prompt("instructions"),
            lifespan=lambda _: hold(),
            log_level=log_level,
            subscriptions=False,
            cache_hints={
                "tools/list": CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public"),
                "prompts/list": CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public"),
                "resources/list": CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public"),
                "resources/templates/list": CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public"),
            },
            middleware=[remember_request, hide_uris(desk.hiding_key)],
            extensions=[] if view is None else [offer_view(view)],
        )
        serve_completions(self, Completer(desk, prompts.templates), lambda: self.is_served)

    async def list_tools(self) -> list[PublishedTool]:
        """The tools, always in the same order."""
        return self._published

    async def list_prompts(self) -> list[PublishedPrompt]:
        """The prompts, always in the same order."""
        return self._prompts.publish()

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[None, Any] | None = None,
    ) -> GetPromptResult:
        """The prompt with these arguments; it asks no backend, so anyone may have it."""
        del context
        return self._prompts.get(name, arguments)

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[None, Any] | None = None,
    ) -> CallToolResult:
        """The answer as a text block, and a picture after it where one was asked.

        A failure is an error result, never a protocol error.
        """
        known = name if name in TOOLS else _UNKNOWN
        answer, code = await self._run(known, partial(self._answer, name, arguments), context)
        content: list[ContentBlock] = [TextContent(type="text", text=answer.text)]
        if answer.image is not None:
            image = b64encode(answer.image).decode("ascii")
            content.append(ImageContent(type="image", data=image, mime_type="image/png"))
        meta = None if answer.view is None else {VIEW_META: answer.view}
        return CallToolResult(content=content, is_error=code != OK, meta=meta)

    async def list_resources(self) -> list[PublishedResource]:
        """The resources with a URI of their own; the page of the view, where it is on."""
        return [*list_resources(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """The resources of which the client fills in a part."""
        return list_templates()

    async def read_resource(
        self, uri: object, context: Context[None, Any] | None = None
    ) -> list[ReadResourceContents]:
        """The resource, with the rights of who reads it.

        Raises:
            MCPError: with our words, whatever went wrong.
        """
        if self._desk.has_view and str(uri) == VIEW_URI:
            return [*await super().read_resource(VIEW_URI, context)]
        found = find_resource(str(uri))
        work = partial(found.read, self._desk)
        answer, code = await self._run(f"resource:{found.name}", work, context)
        if code != OK:
            raise explain_refusal(self._desk, str(uri), answer.text, code)
        meta = {NOTES_META: [*answer.notes]} if answer.notes else None
        return [ReadResourceContents(answer.text, found.mime_type, meta)]

    async def _run(self, name: str, work: Work, context: Context[None, Any] | None) -> Outcome:
        """What `work` gives, or what is wrong and its code; counted, logged, with progress."""
        respond = partial(self._respond, name, work, context)
        with watch_call(name, self.meter) as call:
            if context is None:
                answer, call.code = await respond()
            else:
                answer, call.code = await report_while(respond, context.report_progress)
            call.size = len(answer.text.encode("utf-8", "replace"))
        return answer, call.code

    async def _respond(self, name: str, work: Work, context: Context[None, Any] | None) -> Outcome:
        try:
            caller = caller_of(context, is_served=self.is_served)
            with self.calls.until_the_end():
                return await work(caller), OK
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
            key = self._desk.hiding_key
            shown = quote(name if key is None else EmailMask(key).hide(name))
            raise _UnknownToolError(f"no tool {shown}. {did_you_mean(name, TOOLS)}")
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
    meter = Metrics()
    opening = BackendHolder(settings, clock, meter)
    get = opening.get if backend is None else _give(InstrumentedBackend(backend, meter))
    readiness = Readiness(open_probe(settings, get, clock), meter)
    desk = build_context(settings, get, clock)
    return MetricsServer(
        desk,
        hold=opening.hold,
        meter=meter,
        readiness=readiness,
        prompts=Prompts(load_templates(settings.prompts, desk.terms, clock()), desk),
        log_level=settings.log_level,
    )


def _give(backend: Backend) -> Callable[[], Awaitable[Backend]]:
    async def get() -> Backend:
        return backend

    return get
