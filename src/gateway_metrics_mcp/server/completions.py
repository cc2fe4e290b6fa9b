"""Completions: what an argument of a prompt or of a resource may be, by the letters so far."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from gateway_metrics_mcp.auth.middleware import caller_of
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.measures import SHARE, measures_of
from gateway_metrics_mcp.query.time.zone import zone_names
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.context import ToolContext
from gateway_metrics_mcp.server.masking import EmailMask, MaskingBackend
from gateway_metrics_mcp.server.prompts.arguments import datasource_of, is_plain
from gateway_metrics_mcp.server.prompts.model import Argument, Template
from gateway_metrics_mcp.server.prompts.parser import MOST_LETTERS
from gateway_metrics_mcp.server.recent_values import fetch_live, find_source

_RANGES: Final = (
    *("today", "yesterday", "last 7 days", "last 30 days", "this week", "last week"),
    *("this month", "last month", "this quarter", "last quarter", "this year", "last year"),
    *("last 24 hours", "last 60 minutes", "now-7d"),
)
_COMPARISONS: Final = ("previous", "1 day", "1 week", "1 month", "1 year")
_LAST: Final = re.compile(r"\s*last ([1-9][0-9]{0,2})\b.*", re.IGNORECASE)
_UNITS: Final = ("days", "hours", "weeks", "months")
_MONTHS: Final = 12


def find_choices(
    template: Template,
    argument: Argument,
    so_far: str,
    given: Mapping[str, str],
    terms: ParserOptions,
    now: datetime,
) -> tuple[str, ...]:
    """The known values of an argument; `given` are the other arguments."""
    match argument.kind:
        case "choice":
            return argument.choices
        case "range":
            return (*_RANGES, *_months(now), *_counted(so_far))
        case "compare":
            return (*_COMPARISONS, *_months(now))
        case "zone":
            return (terms.default_zone, "UTC", *zone_names())
        case "datasource":
            return DATASOURCES
        case "field":
            name = datasource_of(template, given)
            return tuple(terms.catalog.datasources[name].group_by)
        case "measure":
            return (*measures_of(datasource_of(template, given), terms.catalog), SHARE)
        case _:
            return () if argument.default is None else (argument.default,)


def _months(now: datetime) -> list[str]:
    """The last twelve months by name, the present one first."""
    utc = now.astimezone(ZoneInfo("UTC"))
    last = utc.year * _MONTHS + utc.month - 1
    return [f"{n // _MONTHS}-{n % _MONTHS + 1:02d}" for n in range(last, last - _MONTHS, -1)]


def _counted(so_far: str) -> list[str]:
    """`last 14 days` and the like, where a number is being typed."""
    match = _LAST.fullmatch(so_far)
    return [] if match is None else [f"last {match[1]} {unit}" for unit in _UNITS]


logger = logging.getLogger(__name__)

Reference = PromptReference | ResourceTemplateReference

LIMIT_S: Final = 0.28
"""People wait for a completion while they type: after this long there is none."""
MOST_VALUES: Final = 100
"""The protocol's own limit."""
_PARTS: Final = re.compile(r"[/@:. _-]")
_CATALOG: Final = "gateway-metrics://catalog/{datasource}"
"""The resource template with a variable that can be completed."""


class Completer:
    """Completes for one server; never fails, never takes longer than the limit."""

    def __init__(self, desk: ToolContext, templates: Mapping[str, Template]) -> None:
        self._desk = desk
        self._templates = templates
        self._tasks: set[asyncio.Task[None]] = set()

    async def complete(
        self,
        ref: Reference,
        argument: CompletionArgument,
        context: CompletionContext | None,
        ask_caller: Callable[[], Caller],
    ) -> Completion:
        """The values that fit, those that begin with the letters so far first."""
        given = (context.arguments if context is not None else None) or {}

        async def find() -> list[str]:
            return await self._find(ref, argument, given, ask_caller)

        values = await self._within_limit(find)
        return Completion(
            values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
        )

    async def _within_limit(self, find: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """What is found in time.

        The search is ended then but not waited for: some of what it does, such as opening an
        engine, cannot be cut short.
        """
        scope, found = anyio.CancelScope(), list[str]()

        async def run() -> None:
            with scope:
                try:
                    found.extend(await find())
                except Exception as error:  # noqa: BLE001 - a completion is a kindness
                    logger.debug("no completion: %s", type(error).__name__)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait({task}, timeout=LIMIT_S)
        finally:
            scope.cancel()
        return [*found]

    async def _find(
        self,
        ref: Reference,
        argument: CompletionArgument,
        raw: Mapping[str, str],
        ask_caller: Callable[[], Caller],
    ) -> list[str]:
        """Every value that fits.

        Raises:
            GatewayMetricsError: if there is a reason why there are none.
        """
        place = _find_place(ref, argument.name, self._templates)
        if place is None or len(argument.value) > MOST_LETTERS:
            return []
        mask = None if self._desk.hiding_key is None else EmailMask(self._desk.hiding_key)
        so_far = argument.value if mask is None else str(mask.read(argument.value))
        given = raw if mask is None else {name: mask.read(value) for name, value in raw.items()}
        terms, now = self._desk.terms(), self._desk.clock()
        values = find_choices(place.template, place.argument, so_far, given, terms, now)
        source = find_source(place.template, place.argument, so_far, given, terms.catalog)
        if source is not None:
            backend = await self._desk.backend()
            if mask is not None:
                backend = MaskingBackend(backend, mask, terms.catalog)
            live = await fetch_live(backend, ask_caller(), source, terms, now)
            values = (*values, *(live if mask is None else map(mask.hide, live)))
        return rank(so_far, [value for value in values if _is_offered(value)])


@dataclass(frozen=True, slots=True)
class _Place:
    template: Template
    argument: Argument


def _find_place(ref: Reference, name: str, templates: Mapping[str, Template]) -> _Place | None:
    """The argument that is completed; a variable of a resource is one of a prompt without text."""
    if isinstance(ref, PromptReference):
        template = templates.get(ref.name)
        argument = None if template is None else template.argument(name)
        return None if template is None or argument is None else _Place(template, argument)
    if (ref.uri, name) != (_CATALOG, "datasource"):
        return None
    argument = Argument(name, "", "datasource")
    return _Place(Template("", "", "", (argument,), ()), argument)


def _is_offered(value: str) -> bool:
    """Whether a value can be an argument, and looks like what it is."""
    return is_plain(value) and value.isprintable()


def rank(so_far: str, values: list[str]) -> list[str]:
    """Those that begin with the letters so far, then those with a part that does, then the rest."""
    wanted = so_far.strip().casefold()

    def place(value: str) -> int:
        text = value.casefold()
        if text.startswith(wanted):
            return 0
        return 1 if any(part.startswith(wanted) for part in _PARTS.split(text)) else 2

    fitting = [value for value in dict.fromkeys(values) if wanted in value.casefold()]
    return sorted(fitting, key=place)


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
