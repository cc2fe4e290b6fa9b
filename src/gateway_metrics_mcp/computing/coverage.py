"""Whether an earlier window lies before the data: then it is no change, but a beginning.

The API does not say how far its data reach back. So all rows of the earlier window, where they can
be added up, are asked bucket by bucket: the same number of calls, and empty days at its start show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.question_buckets import choose_interval
from gateway_metrics_mcp.result import TOTAL, DataPoint, Number, Result
from gateway_metrics_mcp.sums import add_up

_BUCKETS: Final = 40
_LEAST_SHARE: Final = 0.1
"""A shorter lull at the start of a window is no sign of anything."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The start of a window without rows: up to `until`, None if there is no row at all."""

    until: datetime | None
    share: float


def spread(query: Query) -> Query:
    """The question bucket by bucket, where its values add up; else as it is."""
    if query.group_by or query.interval is not None:
        return query
    if not all(aggregation.is_additive for aggregation in query.aggregations):
        return query
    interval = choose_interval(query.start_ts, query.end_ts, _BUCKETS)
    return query.model_copy(update={"type": "timeseries", "interval": interval})


def cover(query: Query) -> Query:
    """The cheapest question that tells when the rows begin: their number, bucket by bucket."""
    return spread(query.model_copy(update={"group_by": (), "aggregations": (), "interval": None}))


def fold(query: Query, result: Result) -> Result:
    """The one row that the ungrouped question would have had (R1)."""
    counts = {a.key for a in query.aggregations if a.type == "count"} | {TOTAL}
    rows = [point.values for point in result.points]
    sums: list[Number | None] = [
        add_up(row[i] for row in rows) if rows else (0 if name in counts else None)
        for i, name in enumerate(result.value_names)
    ]
    return Result(
        (), result.value_names, (DataPoint((), tuple(sums)),), result.notes, result.is_by_rulings
    )


def find_gap(query: Query, result: Result) -> Gap | None:
    """The empty start of a spread question's window; None if there is none."""
    starts = [point.start for point in result.points if point.start is not None]
    if not starts:
        return Gap(None, 1.0)
    if min(starts) <= query.start_ts:
        return None
    share = (min(starts) - query.start_ts) / (query.end_ts - query.start_ts)
    return Gap(min(starts), share) if share >= _LEAST_SHARE else None
