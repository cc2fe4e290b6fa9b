"""What an argument of a prompt may be, as far as it is known without asking the backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query.measures import SHARE, measures_of
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.query.zone import zone_names
from gateway_metrics_mcp.question import Terms
from gateway_metrics_mcp.templates.model import Argument, Template
from gateway_metrics_mcp.templates.values import datasource_of

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
    terms: Terms,
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
