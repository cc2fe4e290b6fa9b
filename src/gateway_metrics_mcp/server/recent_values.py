"""Values seen lately, as one caller may see them: models, teams, users, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Filter, format_instant
from gateway_metrics_mcp.query.vocabulary import METADATA, METADATA_PREFIX, DatasourceName
from gateway_metrics_mcp.reports.listing import fetch_values, read_listing
from gateway_metrics_mcp.reports.request import ParserOptions
from gateway_metrics_mcp.server.prompts.arguments import datasource_of
from gateway_metrics_mcp.server.prompts.model import Argument, Template

_DAYS: Final = 7
_STEP_S: Final = 300
"""Windows end at whole steps, so that each next letter finds the answer to the last one kept."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whose values are wanted."""

    datasource: DatasourceName
    field: str
    prefix: str = ""
    """What each value is written after."""
    filters: tuple[Filter, ...] = ()
    """The other arguments that narrow the rows."""


def find_source(
    template: Template,
    argument: Argument,
    so_far: str,
    given: Mapping[str, str],
    catalog: Catalog,
) -> Source | None:
    """Where the values of an argument come from; None if not from rows."""
    datasource = datasource_of(template, given)
    if argument.kind == "key":
        return Source(datasource, METADATA)
    if argument.kind == "field":
        is_meant = so_far.casefold().startswith(METADATA)
        return Source(datasource, METADATA, METADATA_PREFIX) if is_meant else None
    field = field_of(template, argument, given)
    if field is None:
        return None
    others = [one for one in template.arguments if one != argument and given.get(one.name)]
    found = [
        _filter(field_of(template, one, given), given[one.name], datasource, catalog)
        for one in others
    ]
    return Source(datasource, field, filters=tuple(one for one in found if one is not None))


def field_of(template: Template, argument: Argument, given: Mapping[str, str]) -> str | None:
    """The field whose value the argument is; None if it is none, or that is not known yet."""
    if argument.kind != "value" or argument.of is None:
        return argument.field
    name, other = given.get(argument.of), template.argument(argument.of)
    is_key = other is not None and other.kind == "key"
    return f"{METADATA_PREFIX}{name}" if name and is_key else name


def _filter(
    field: str | None, value: str, datasource: DatasourceName, catalog: Catalog
) -> Filter | None:
    if field is None:
        return None
    name = catalog.canonical("filters", field)
    known = catalog.filter_field(datasource, name)
    for operator in ("ARRAY_HAS_ANY", "IN"):
        if known is not None and operator in known.allowed:
            return Filter(field_name=name, operator=operator, value=(value,))
    return None


async def fetch_live(
    backend: Backend, caller: Caller, source: Source, terms: ParserOptions, now: datetime
) -> list[str]:
    """The values of the last days, those of most rows first.

    Raises:
        GatewayMetricsError: as the backend does, or if the values have no list.
    """
    end = datetime.fromtimestamp(now.timestamp() // _STEP_S * _STEP_S, UTC)
    raw = {
        "datasource": source.datasource,
        "field": source.field,
        "startTs": format_instant(end - timedelta(days=_DAYS)),
        "endTs": format_instant(end),
    }
    listing = read_listing(raw, terms, now)
    filters = (*listing.query.filters, *source.filters)
    query = listing.query.model_copy(update={"filters": filters})
    result = await fetch_values(backend, caller, replace(listing, query=query))
    rows = sorted(result.points, key=lambda point: -(point.values[0] or 0))
    keys = (point.keys[0] for point in rows if point.keys)
    return [source.prefix + key for key in keys if isinstance(key, str) and key]
