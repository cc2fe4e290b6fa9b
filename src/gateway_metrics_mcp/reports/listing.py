"""`list_values`: its arguments as a validated listing, and the listing's rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import (
    METADATA,
    METADATA_PREFIX,
    Caller,
    Datasource,
    DatasourceName,
    Query,
    Result,
    Window,
    quote,
)
from gateway_metrics_mcp.query.scope import apply_scope
from gateway_metrics_mcp.query.validation import QueryValidator, read_datasource
from gateway_metrics_mcp.reports.arguments import ListValuesArguments, read_arguments
from gateway_metrics_mcp.reports.request import ParserOptions, read_times

ANY_KEY: Final = f"{METADATA_PREFIX}<key>"
_LONGEST: Final = 256
_NO_KEYS: Final = (
    "the gateway's API cannot list the keys of the metadata. A known key works as a field:"
    f" {ANY_KEY}"
)


class Listing(NamedTuple):
    """One `list_values` call, validated: which values to query, and which to show."""

    query: Query
    """Grouped by the field; by `metadata` to list metadata keys."""
    datasource: Datasource
    window: Window
    scope: str | None
    """Which side of virtual models is listed; None if the datasource has none."""
    search: str = ""
    limit: int | None = None
    offset: int = 0

    @property
    def field(self) -> str:
        """The field in the gateway's spelling."""
        return self.query.group_by[0]

    @property
    def is_of_keys(self) -> bool:
        """Whether metadata keys are listed rather than values."""
        return _is_keys(self.field, self.datasource)


def read_listing(raw: Mapping[str, Any], options: ParserOptions, now: datetime) -> Listing:
    """The listing that the arguments of `list_values` describe.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems = Problems()
    arguments = read_arguments(ListValuesArguments, raw, problems)
    name = read_datasource(arguments.datasource, problems)
    field = _read_text("field", arguments.field, problems)
    if field is not None and name is not None:
        field = _read_field(field, name, options, problems)
    search = _read_text("search", arguments.search, problems)
    window = read_times(arguments, options, now, problems)
    if problems or window is None or name is None or field is None:
        raise InvalidQueryError(problems)
    datasource = options.catalog.datasources[name]
    query = Query(
        datasource=name,
        type="distribution",
        start_ts=window.start,
        end_ts=window.end,
        group_by=(field,),
    )
    scoped = apply_scope(query, datasource)
    return Listing(
        scoped.query,
        datasource,
        window,
        scoped.phrase,
        search or "",
        arguments.limit,
        arguments.offset,
    )


async def fetch_values(backend: Backend, caller: Caller, listing: Listing) -> Result:
    """A row per value of the field, or per metadata key, with the number of rows.

    Raises:
        InvalidQueryError: if the backend cannot list keys.
        GatewayMetricsError: as the backend raises.
    """
    query = listing.query
    if not listing.is_of_keys:
        return await backend.query(query, caller)
    keys = await backend.metadata_keys(query.datasource, query.start_ts, query.end_ts, caller)
    if keys is None:
        raise InvalidQueryError([Problem("field", _NO_KEYS)])
    return keys


def _is_keys(field: str, datasource: Datasource) -> bool:
    return field == METADATA and field not in datasource.group_by


def _read_text(name: str, value: object, problems: Problems) -> str | None:
    """The text of an argument, a number as text; None if not given or a problem was added."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None and name != "field":
        return None
    if value is None:
        wrong = f"missing. Give a group-by field, {ANY_KEY}, or {METADATA} for the keys"
    elif not isinstance(value, str):
        wrong = f"expected text, got {quote(value)}"
    elif len(value) > _LONGEST:
        wrong = f"more than {_LONGEST} characters"
    else:
        return value
    problems.add(name, wrong)
    return None


def _read_field(
    given: str, name: DatasourceName, options: ParserOptions, problems: Problems
) -> str | None:
    """The gateway's spelling of a group-by field; None after adding a problem."""
    datasource = options.catalog.datasources[name]
    if _is_keys(given.strip().lower(), datasource):
        return METADATA
    parts = QueryValidator(
        options.catalog, Problems(), allow_unknown=options.allow_unknown, is_lenient=True
    )
    parts.datasource, parts.is_distribution = name, True
    field = next(iter(parts.read_group_by([given])), None)
    if field is not None and not parts.problems and not _other_use(field, datasource):
        return field
    listed = (*datasource.group_by, ANY_KEY, METADATA)
    # httpStatusCode, isFailure and others can be filtered but not grouped on the gateway.
    other = _other_use(options.catalog.canonical("filters", given), datasource)
    if other is not None:
        message = (
            f"{quote(given)} can be {other} but not grouped, so its values cannot be listed."
            f" Fields that can: {', '.join(listed)}"
        )
        problems.add("field", message)
        return None
    wrong = parts.problems[0]
    fix = wrong.fix if wrong.fix is None or wrong.fix.entries else None
    problems.add("field", wrong.message.replace(f"{ANY_KEY}", f"{ANY_KEY}, {METADATA}"), fix)
    return None


def _other_use(name: str, datasource: Datasource) -> str | None:
    """What else the name can be used for in the datasource; None if it is grouped, or unknown."""
    if name in datasource.group_by:
        return None
    if name in datasource.filters:
        return "filtered"
    return "aggregated" if name in datasource.columns else None
