"""A question -> the calls that would be made, with what each is for; nothing is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query.model import Aggregation, Filter, Query
from gateway_metrics_mcp.query.virtual_models import FIELD
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX
from gateway_metrics_mcp.reports.columns import COST, asks_spend
from gateway_metrics_mcp.reports.diagnosis import list_spans
from gateway_metrics_mcp.reports.plan import QueryRole, describe_call
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.reports.time_buckets import (
    choose_step,
    count_calls,
    count_query,
    needs_group_count,
)

_SIDE: Final = "virtual-model rows and the rows under them would count twice"


@dataclass(frozen=True, slots=True)
class Step:
    """One upstream call, or several alike: what for, the first query, and how many."""

    purpose: str
    query: Query
    times: int = 1


def list_steps(request: ReportRequest, planned: Mapping[QueryRole, Query]) -> list[Step]:
    """The calls in the order they are made."""
    steps = []
    if needs_group_count(request):
        steps.append(Step("first, how many groups there are", count_query(request)))
    return steps + [_step(request, call, query) for call, query in planned.items()]


def _step(request: ReportRequest, call: QueryRole, query: Query) -> Step:
    purpose, local = describe_call(call), request.local
    if local is None or query.interval is None:
        return Step(purpose, query)
    step = choose_step(query, local)
    if step is not None:
        narrow = query.model_copy(update={"interval": step})
        return Step(f"{purpose}, added up to the {local.unit}s of {local.zone.key}", narrow)
    count = count_calls(query, local)
    ends = [*list(local.buckets(query.start_ts, query.end_ts))[1:], query.end_ts]
    first = {"type": "distribution", "interval": None, "end_ts": ends[0]}
    purpose = f"{purpose}, one call for each {local.unit} of {local.zone.key}; the first"
    return Step(purpose, query.model_copy(update=first), count)


def list_later_calls(request: ReportRequest, left: int) -> list[str]:
    """The calls that are made only if the answers need them, and if so many are left."""
    later = []
    filtered = sum(not _is_scope(filter_) for filter_ in request.query.filters)
    filtered *= len(list_spans(request))
    if left and filtered:
        most = min(left, filtered)
        count = "1" if most == 1 else f"up to {most}"
        later.append(f"if a filter's value matches nothing: {count} without it, for near values")
    if left and any(name.startswith(METADATA_PREFIX) for name in request.query.group_by):
        later.append("if no row has a metadata key: 1, for keys that come near")
    if left > 1 and request.earlier is not None and asks_spend(request.values):
        later.append("if calls have no price: 2 of those that have one, for what moved the cost")
    return later


def list_added(request: ReportRequest) -> list[str]:
    """What the request has that was not asked, and why."""
    report = {value.source for value in request.values if isinstance(value.source, Aggregation)}
    added = [
        f"{aggregation.type} {aggregation.column}: {_reason(aggregation)}"
        for aggregation in request.query.aggregations
        if aggregation not in report
    ]
    ours = request.scope_filter
    if ours is not None:
        added.append(f"filter {FIELD} IS_NULL {str(ours.value).lower()}: {_SIDE}")
    return added


def _is_scope(filter_: Filter) -> bool:
    return filter_.field_name == FIELD and filter_.operator == "IS_NULL"


def _reason(aggregation: Aggregation) -> str:
    if aggregation.type == "count" and aggregation.column == COST:
        return "calls without a price leave spend too low"
    if aggregation.type == "count":
        return "how many values a percentile or a ratio stands on"
    return "a measure or a comparison is made of it"
