"""The MCP server: routes the SDK's messages to tools, prompts, resources and completions.

It also turns every failure into text that a model can read. Transports are in http/ and cli/.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from mcp import MCPError
from mcp.server import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    ContentBlock,
    GetPromptResult,
    ImageContent,
    PromptReference,
    ResourceTemplate,
    ResourceTemplateReference,
    TextContent,
)
from mcp_types import Prompt as PublishedPrompt
from mcp_types import Resource as PublishedResource
from mcp_types import Tool as PublishedTool

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.auth.middleware import find_caller
from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.backends.factory import BackendHolder
from gateway_metrics_mcp.errors import (
    AskerError,
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    SettingsError,
)
from gateway_metrics_mcp.query import LOCAL, Caller, quote
from gateway_metrics_mcp.rendering.answer import Answer
from gateway_metrics_mcp.runtime.concurrency import ShutdownScope, report_while
from gateway_metrics_mcp.runtime.logs import watch_call
from gateway_metrics_mcp.runtime.metrics import OK, Metrics
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.server.completions import Completer
from gateway_metrics_mcp.server.masking import EmailMask, hide_uris, read_hiding_key
from gateway_metrics_mcp.server.prompts import list_problems, read_prompt
from gateway_metrics_mcp.server.prompts.library import Prompts
from gateway_metrics_mcp.server.resources import (
    NOTES_META,
    find_resource,
    list_resources,
    list_templates,
)
from gateway_metrics_mcp.server.tools import TOOLS, ToolContext, answer_call
from gateway_metrics_mcp.server.view_page import VIEW_META, VIEW_URI, offer_view
from gateway_metrics_mcp.settings import Settings

logger = logging.getLogger(__name__)

NAME: Final = "gateway-metrics"
_UNKNOWN: Final = "unknown"
"""The name of unknown tools in metrics and logs: a client could write anything there."""
_LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_LISTS_FRESH_MS: Final = 3_600_000
"""How long clients may cache the lists, which only change with a new version."""


class MetricsServer(MCPServer[None]):
    """The SDK's server with the tools of our own registry.

    Tools are not registered with the SDK: its argument models drop unknown arguments silently and
    report errors in Pydantic's terms. `hold` keeps the backend open between calls.
    """

    def __init__(
        self,
        context: ToolContext,
        *,
        hold: Callable[[], AbstractAsyncContextManager[None]],
        meter: Metrics,
        readiness: Readiness,
    ) -> None:
        self._context = context
        self.hold = hold
        self.meter = meter
        self.readiness = readiness
        self.prompts = Prompts(context)
        self.calls = ShutdownScope()
        self.is_served = False
        """Whether it serves HTTP, where each request carries its caller's credentials."""
        self._completer = Completer(context, self.prompts.templates)
        self._has_view = context.settings.ui
        self._tools = [tool.publish(has_view=self._has_view) for tool in TOOLS.values()]
        hiding = [] if context.hiding_key is None else [hide_uris(context.hiding_key)]
        super().__init__(
            NAME,
            title="Gateway metrics",
            version=__version__,
            instructions=read_prompt("instructions"),
            lifespan=lambda _: hold(),
            log_level=context.settings.log_level,
            # Else clients of 2026-07-28 are told `listChanged: true`, and the lists never change.
            subscriptions=False,
            # Public: the lists are the same for all callers.
            cache_hints=dict.fromkeys(_LISTS, CacheHint(ttl_ms=_LISTS_FRESH_MS, scope="public")),
            middleware=[_remember_request, *hiding],
            extensions=[offer_view()] if self._has_view else [],
        )
        self.completion()(self._complete)  # type: ignore[no-untyped-call]  # the SDK has none

    async def run_stdio_async(self) -> None:
        """Serve stdio; a line that is no message is answered too."""
        from gateway_metrics_mcp.server.stdio import open_stdio  # not for HTTP

        server = self._lowlevel_server
        async with open_stdio() as (messages, answers):
            await server.run(messages, answers, server.create_initialization_options())

    async def list_tools(self) -> list[PublishedTool]:
        """The tools, always in the same order."""
        return self._tools

    async def list_prompts(self) -> list[PublishedPrompt]:
        """The prompts, always in the same order."""
        return self.prompts.publish()

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[None, Any] | None = None,
    ) -> GetPromptResult:
        """Fill in a prompt. It queries no backend, so it needs no caller.

        Raises:
            MCPError: if there is no such prompt, or its arguments are invalid.
        """
        del context
        return self.prompts.get(name, arguments or {})

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[None, Any] | None = None,
    ) -> CallToolResult:
        """Answer with one text block, and an image block after it if a chart was requested.

        A failure is an error result and not a protocol error, which models do not see. There is no
        structured content: some clients would show a model only that, and drop the text.
        """
        known = name if name in TOOLS else _UNKNOWN
        work = partial(answer_call, self._context, name, arguments)
        answer, error = await self._run(known, work, context)
        content: list[ContentBlock] = [TextContent(type="text", text=answer.text)]
        if answer.image is not None:
            image = b64encode(answer.image).decode("ascii")
            content.append(ImageContent(type="image", data=image, mime_type="image/png"))
        meta = None if answer.view is None else {VIEW_META: answer.view}
        return CallToolResult(content=content, is_error=error is not None, meta=meta)

    async def list_resources(self) -> list[PublishedResource]:
        """The resources with a fixed URI, and the view's page if `ui` is set."""
        return [*list_resources(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """The resource templates."""
        return list_templates()

    async def read_resource(
        self, uri: object, context: Context[None, Any] | None = None
    ) -> list[ReadResourceContents]:
        """Read a resource with the caller's rights.

        Raises:
            MCPError: on any failure; INVALID_PARAMS if the caller has to change the request, else
                INTERNAL_ERROR.
        """
        if self._has_view and str(uri) == VIEW_URI:
            return [*await super().read_resource(VIEW_URI, context)]
        found = find_resource(str(uri))
        work = partial(found.read, self._context)
        answer, error = await self._run(f"resource:{found.name}", work, context)
        if isinstance(error, AskerError):  # the request has to change
            shown = EmailMask(self._context.hiding_key).hide_uri(str(uri))
            raise MCPError(INVALID_PARAMS, answer.text, {"uri": shown})
        if error is not None:
            raise MCPError(INTERNAL_ERROR, answer.text)
        meta = {NOTES_META: [*answer.notes]} if answer.notes else None
        return [ReadResourceContents(answer.text, found.mime_type, meta)]

    async def _complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        # Unlike other handlers, the SDK's completion handler gets no context: see below.
        request = Context[None, Any](request_context=_REQUEST.get())
        caller = self._find_caller(request)
        given = (context.arguments if context is not None else None) or {}
        return await self._completer.complete(ref, argument, given, caller)

    def _find_caller(self, context: Context[None, Any] | None) -> Caller:
        """The caller of a message: the authenticated caller of its HTTP request.

        Only stdio and in-memory messages come from the local caller. Over HTTP a message without
        a request is an error, because the local caller may see all rows.

        Raises:
            InternalError: if the request was not authenticated.
        """
        request = None if context is None else context.request_context.request
        if request is None and not self.is_served:
            return LOCAL
        return find_caller({} if request is None else request.scope)

    async def _run(
        self,
        name: str,
        work: Callable[[Caller], Awaitable[Answer]],
        context: Context[None, Any] | None,
    ) -> tuple[Answer, GatewayMetricsError | None]:
        """Run `work` with the message's caller; counts, logs and reports progress.

        Returns:
            The answer and None, or an answer that explains the error, and the error.
        """
        error = None

        async def respond() -> Answer:
            nonlocal error
            try:
                caller = self._find_caller(context)
                with self.calls.until_the_end():
                    return await work(caller)
            except GatewayMetricsError as known:
                error = known
                return Answer(_explain(name, known))
            except Exception:
                logger.exception("tool %s failed", quote(name))
                error = InternalError("an internal error of this server; see its log.")
                return Answer(_explain(name, error))

        with watch_call(name, self.meter) as call:
            if context is None:
                answer = await respond()
            else:
                answer = await report_while(respond, context.report_progress)
            call.code = OK if error is None else error.code
            call.size = len(answer.text.encode("utf-8", "replace"))
        return answer, error


_REQUEST: Final[ContextVar[ServerRequestContext[Any, Any]]] = ContextVar("completed_request")


async def _remember_request(
    ctx: ServerRequestContext[Any, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware that keeps the request for `_complete`, which the SDK does not pass it to.

    A context variable is safe here: each message runs in a task of its own and sets it first.
    """
    _REQUEST.set(ctx)
    return await call_next(ctx)


def _explain(name: str, error: GatewayMetricsError) -> str:
    """The text of an error for a model: never a path, an address or a stack trace."""
    if isinstance(error, InvalidQueryError):
        return list_problems(name, error)
    if isinstance(error, SettingsError):
        logger.warning("%s", error)
        return f"Error ({error.code}): {error.public}"
    return f"Error ({error.code}): {error}"


def build_server(
    settings: Settings,
    *,
    backend: Backend | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> MetricsServer:
    """Build the server. The backend is opened by the first query, not here.

    `backend` replaces the one that the settings name, and the caller closes it. `clock` gives the
    current time, in UTC.

    Raises:
        SettingsError: if the prompts or the masking key cannot be read.
    """
    if settings.transport != "stdio" and not settings.shared_token:
        # Callers send their own token. Without this, one without a token would use the server's.
        settings = settings.model_copy(update={"token": None})
    meter = Metrics()
    holder = BackendHolder(settings, clock, meter, given=backend)
    context = ToolContext(settings, holder.get, clock, read_hiding_key(settings))

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        with context.charts.hold():
            async with holder.hold(is_server=True):
                yield

    return MetricsServer(
        context,
        hold=hold,
        meter=meter,
        readiness=Readiness(holder.check, meter, holder.look),
    )
