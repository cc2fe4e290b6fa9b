"""`list_values`: its arguments as a validated listing, and the listing's rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import (
    DATASOURCES,
    METADATA,
    METADATA_PREFIX,
    Caller,
    Catalog,
    Datasource,
    DatasourceName,
    Query,
    Result,
    Window,
    did_you_mean,
    quote,
)
from gateway_metrics_mcp.query.scope import apply_scope
from gateway_metrics_mcp.query.validation import read_choice
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
    name = read_choice("datasource", arguments.datasource, DATASOURCES, problems)
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
    catalog, datasource = options.catalog, options.catalog.datasources[name]
    field = catalog.canonical("groupBy", given)
    is_key = field.startswith(METADATA_PREFIX) and field != METADATA_PREFIX
    if is_key or field in datasource.group_by or _is_keys(field, datasource):
        return field
    if field == METADATA_PREFIX:
        problems.add("field", f'the key is missing. Give "{ANY_KEY}"')
        return None
    listed = (*datasource.group_by, ANY_KEY, METADATA)
    # httpStatusCode, isFailure and others can be filtered but not grouped on the gateway.
    other = _other_use(given, catalog, datasource)
    if other is not None:
        message = (
            f"{quote(given)} can be {other} but not grouped, so its values cannot be listed."
            f" Fields that can: {', '.join(listed)}"
        )
    elif options.allow_unknown and field:
        return field
    else:
        message = f"{quote(given)} is not a group-by field of {name}. {did_you_mean(given, listed)}"
    problems.add("field", message)
    return None


def _other_use(given: str, catalog: Catalog, datasource: Datasource) -> str | None:
    """What else the name can be used for in the datasource; None if it is unknown."""
    if catalog.canonical("filters", given) in datasource.filters:
        return "filtered"
    if catalog.canonical("columns", given) in datasource.columns:
        return "aggregated"
    return None
