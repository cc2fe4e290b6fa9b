"""Completions: values for an argument of a prompt or resource, by the letters typed so far.

Periods, zones and catalog names are known without a query. Models, teams, users and metadata come
from the rows of the last seven days that the caller may see.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import anyio
from mcp_types import (
    Completion,
    CompletionArgument,
    PromptReference,
    ResourceTemplateReference,
)

from gateway_metrics_mcp.query import (
    DATASOURCES,
    METADATA,
    METADATA_PREFIX,
    Caller,
    DatasourceName,
    Filter,
    format_instant,
)
from gateway_metrics_mcp.query.time.zone import zone_names
from gateway_metrics_mcp.reports.listing import fetch_values, read_listing
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.server.prompts.fill import datasource_of, is_plain, known_values
from gateway_metrics_mcp.server.prompts.template import MOST_LETTERS, Argument, Template
from gateway_metrics_mcp.server.resources import CATALOG_OF
from gateway_metrics_mcp.server.tools import ToolContext

logger = logging.getLogger(__name__)

Reference = PromptReference | ResourceTemplateReference

LIMIT_S: Final = 0.28
"""People wait while they type, for at most 300 ms in all: after this there are no values."""
MOST_VALUES: Final = 100
"""The limit that the MCP specification sets."""
_STEP_S: Final = 300
"""Windows end at multiples of this, so that the query of the next letter is in the cache."""
_PARTS: Final = re.compile(r"[/@:. _-]")

_RANGES: Final = (
    *("today", "yesterday", "last 7 days", "last 30 days", "this week", "last week"),
    *("this month", "last month", "this quarter", "last quarter", "this year", "last year"),
    *("last 24 hours", "last 60 minutes", "now-7d"),
)
_COMPARISONS: Final = ("previous", "1 day", "1 week", "1 month", "1 year")
_LAST: Final = re.compile(r"\s*last ([1-9][0-9]{0,2})\b.*", re.IGNORECASE)
_UNITS: Final = ("days", "hours", "weeks", "months")
_MONTHS: Final = 12


class Completer:
    """Completes arguments for one server; never fails, and never takes longer than `LIMIT_S`."""

    def __init__(self, context: ToolContext, templates: Mapping[str, Template]) -> None:
        self._context = context
        self._templates = templates
        self._tasks: set[asyncio.Task[None]] = set()

    async def complete(
        self,
        ref: Reference,
        argument: CompletionArgument,
        given: Mapping[str, str],
        caller: Caller,
    ) -> Completion:
        """The matching values, at most 100, those that begin with the letters so far first."""
        find = partial(self._find, ref, argument, given, caller)
        values = await self._within_limit(find)
        return Completion(
            values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
        )

    async def _within_limit(self, find: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """The values found within `LIMIT_S`, else none.

        The search runs in a task that is cancelled at the limit but not awaited: parts of it, such
        as opening an engine, cannot be interrupted.
        """
        scope, values = anyio.CancelScope(), list[str]()

        async def run() -> None:
            with scope:
                try:
                    values.extend(await find())
                except Exception as error:  # noqa: BLE001 - no completion is better than an error
                    logger.debug("no completion: %s", type(error).__name__)

        task = asyncio.create_task(run())
        # The event loop keeps only weak references: without this a task could be collected.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait({task}, timeout=LIMIT_S)
        finally:
            scope.cancel()
        return [*values]

    async def _find(
        self,
        ref: Reference,
        asked: CompletionArgument,
        raw: Mapping[str, str],
        caller: Caller,
    ) -> list[str]:
        """All matching values, ranked.

        Raises:
            GatewayMetricsError: if the values cannot be listed.
        """
        if len(asked.value) > MOST_LETTERS:
            return []
        if isinstance(ref, ResourceTemplateReference):  # only one of ours has a completable part
            is_ours = (ref.uri, asked.name) == (CATALOG_OF, "datasource")
            return rank(asked.value, DATASOURCES) if is_ours else []
        template = self._templates.get(ref.name)
        argument = None if template is None else template.argument(asked.name)
        if template is None or argument is None:
            return []
        mask = EmailMask(self._context.hiding_key)
        context = self._context.masked_by(mask)
        search = _Search(template, argument, mask.read(asked.value), mask.read(raw), context)
        recent = map(mask.hide, await search.fetch_recent(caller))
        values = [value for value in (*search.list_known(), *recent) if is_plain(value)]
        return rank(search.so_far, filter(str.isprintable, values))


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for one argument's values, given the letters so far and the other arguments."""

    template: Template
    argument: Argument
    so_far: str
    given: Mapping[str, str]
    context: ToolContext

    def list_known(self) -> list[str]:
        """The values that are known without a query."""
        options, now = self.context.options, self.context.clock()
        match self.argument.kind:
            case "range":
                return [*_RANGES, *_list_months(now), *_count_on(self.so_far)]
            case "compare":
                return [*_COMPARISONS, *_list_months(now)]
            case "zone":
                return [options.default_zone, "UTC", *zone_names()]
            case "choice" | "datasource" | "field" | "measure":
                return [*known_values(self.template, self.argument, self.given, options.catalog)]
            case _:
                return [] if self.argument.default is None else [self.argument.default]

    async def fetch_recent(self, caller: Caller) -> list[str]:
        """The values seen in the last seven days, most frequent first.

        Raises:
            GatewayMetricsError: if the backend fails, or if the field cannot be listed.
        """
        field, options, now = self._find_field(), self.context.options, self.context.clock()
        if not field:
            return []
        end = datetime.fromtimestamp(now.timestamp() // _STEP_S * _STEP_S, UTC)
        raw = {
            "datasource": datasource_of(self.template, self.given),
            "field": field,
            "startTs": format_instant(end - timedelta(days=7)),
            "endTs": format_instant(end),
        }
        listing = read_listing(raw, options, now)
        others = [a for a in self.template.arguments if a != self.argument]
        narrowed = [self._narrow(other, listing.query.datasource) for other in others]
        filters = (*listing.query.filters, *(one for one in narrowed if one is not None))
        query = listing.query.model_copy(update={"filters": filters})
        backend = await self.context.backend()
        result = await fetch_values(backend, caller, listing._replace(query=query))
        rows = sorted(result.points, key=lambda point: -(point.values[0] or 0))
        keys = (point.keys[0] for point in rows if point.keys)
        prefix = METADATA_PREFIX if self.argument.kind == "field" else ""
        return [prefix + key for key in keys if isinstance(key, str) and key]

    def _find_field(self) -> str | None:
        """The field whose values complete the argument; None if they do not come from rows."""
        match self.argument.kind:
            case "key":
                return METADATA
            case "field":
                return METADATA if self.so_far.casefold().startswith(METADATA) else None
            case _:
                return self._field_of(self.argument)

    def _field_of(self, argument: Argument) -> str | None:
        """The field that an argument is a value of; None if there is none, or not given yet."""
        if argument.of is None:
            return argument.field
        name, other = self.given.get(argument.of), self.template.argument(argument.of)
        is_key = other is not None and other.kind == "key"
        return f"{METADATA_PREFIX}{name}" if name and is_key else name

    def _narrow(self, argument: Argument, datasource: DatasourceName) -> Filter | None:
        """The filter that another given argument implies, to offer only values that fit it."""
        field, value = self._field_of(argument), self.given.get(argument.name)
        if not field or not value:
            return None
        catalog = self.context.options.catalog
        name = catalog.canonical("filters", field)
        known = catalog.filter_field(datasource, name)
        for operator in ("ARRAY_HAS_ANY", "IN"):
            if known is not None and operator in known.allowed:
                return Filter(field_name=name, operator=operator, value=(value,))
        return None


def rank(so_far: str, values: Iterable[str]) -> list[str]:
    """The values that contain the letters so far, ignoring case.

    First those that begin with them, then those of which a part does (after `/`, `@`, `-` and
    the like), then the rest.
    """
    wanted = so_far.strip().casefold()

    def place(value: str) -> int:
        text = value.casefold()
        if text.startswith(wanted):
            return 0
        return 1 if any(part.startswith(wanted) for part in _PARTS.split(text)) else 2

    fitting = [value for value in dict.fromkeys(values) if wanted in value.casefold()]
    return sorted(fitting, key=place)


def _list_months(now: datetime) -> list[str]:
    """The last twelve months as `2026-07`, the current one first."""
    utc = now.astimezone(UTC)
    last = utc.year * _MONTHS + utc.month - 1
    return [f"{n // _MONTHS}-{n % _MONTHS + 1:02d}" for n in range(last, last - _MONTHS, -1)]


def _count_on(so_far: str) -> list[str]:
    """`last 14 days` and the other units, if a number is being typed."""
    match = _LAST.fullmatch(so_far)
    return [] if match is None else [f"last {match[1]} {unit}" for unit in _UNITS]
