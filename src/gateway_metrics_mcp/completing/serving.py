"""`completion/complete` of a server, asked with the rights of whoever sent the request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext

from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.callers_guard import caller_of
from gateway_metrics_mcp.completing.completer import Completer, Reference

_METHOD: Final = "completion/complete"
_REQUEST: Final[ContextVar[ServerRequestContext[Any, Any] | None]] = ContextVar("completed_request")


async def remember_request(
    ctx: ServerRequestContext[Any, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware: the SDK does not tell a completion's handler which request it answers."""
    if ctx.method != _METHOD:
        return await call_next(ctx)
    token = _REQUEST.set(ctx)
    try:
        return await call_next(ctx)
    finally:
        _REQUEST.reset(token)


def serve_completions(
    server: MCPServer[Any], completer: Completer, is_served: Callable[[], bool]
) -> None:
    """Register the handler; `is_served` says whether the server answers over HTTP."""

    async def complete(
        ref: Reference, argument: CompletionArgument, context: CompletionContext | None
    ) -> Completion:
        request = _REQUEST.get(None)

        def ask_caller() -> Caller:
            asked = None if request is None else Context[Any, Any](request_context=request)
            return caller_of(asked, is_served=is_served())

        return await completer.complete(ref, argument, context, ask_caller)

    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK has no types there
