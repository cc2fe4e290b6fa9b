"""Runs a report request: its queries side by side, then the report from their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

import anyio

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.query import (
    METADATA_PREFIX,
    TOTAL,
    Caller,
    Catalog,
    Number,
    Query,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.scope import FIELD
from gateway_metrics_mcp.query.suggestions import find_near_values
from gateway_metrics_mcp.reports.assembly import (
    Results,
    WindowRows,
    assemble_windows,
    choose_values,
    compare,
    find_seen,
    find_unsure,
)
from gateway_metrics_mcp.reports.columns import asks_spend
from gateway_metrics_mcp.reports.cost_drivers import (
    CostDecomposition,
    costed_queries,
    find_costs,
    list_priced,
    split_change,
)
from gateway_metrics_mcp.reports.diagnosis import (
    Unmatched,
    absent_keys,
    dropping_queries,
    existence_queries,
    find_unmatched,
    join,
    list_seen,
    list_spans,
    listed_filters,
    probe_queries,
    probed_filters,
    read_probe,
    seen_values,
)
from gateway_metrics_mcp.reports.plan import (
    MOST_CALLS,
    MissingStart,
    QueryRole,
    Step,
    count_queries,
    find_gap,
    find_way_to_split,
    fold,
    list_steps,
    list_unasked,
    plan_queries,
    whole_query,
)
from gateway_metrics_mcp.reports.report import Report, is_empty
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.reports.time_buckets import (
    count_query,
    needs_group_count,
    run_local,
    settle_buckets,
)
from gateway_metrics_mcp.runtime.concurrency import MOST_AT_ONCE, run_all, run_in_thread_if_large

Gaps = dict[bool, MissingStart | None]
"""The start without rows of the earlier window (True) and the current one (False), if queried."""


@dataclass(slots=True)
class QueryExecutor:
    """Runs the queries of one tool call, and counts its upstream calls."""

    backend: Backend
    caller: Caller
    catalog: Catalog
    now: datetime
    has_all_row: bool = True
    most_calls: int = MOST_CALLS
    calls: int = 0
    """Upstream calls so far; local days that are queried one by one count as one."""
    oldest_s: float | None = None
    """The age in seconds of the oldest cached result; None if all are fresh."""
    _limiter: anyio.CapacityLimiter | None = None
    """Bounds local days that are queried one by one; a few queries need no limit."""

    async def run(self, request: ReportRequest) -> Report:
        """Run the request's queries and the checks that keep its answer from misleading.

        Raises:
            InvalidQueryError: if it would be too large, or take too many upstream calls.
            GatewayMetricsError: the first failure; the other calls are then cancelled.
        """
        request, notes = await self._settle(request)
        results, gaps = await self._run_plan(request)
        unsure = await self._ask_recorded(request, results)
        notes = (*notes, *unsure)
        mains = [results[QueryRole(is_before)] for is_before in request.windows]
        values = choose_values(request, mains)
        size = sum(len(result.points) for result in results.values())
        now, before = await run_in_thread_if_large(size, assemble_windows, request, results, values)
        report = Report(
            request,
            now.result,
            now.totals if self.has_all_row else None,
            self.now,
            values,
            notes=notes,
            spelt=now.spelt,
            gap=gaps.get(False),
            priced=list_priced(request, now),
            windows=(now,),
            is_restricted=self.caller.is_restricted,
        )
        if before is not None:
            # An earlier window without any row: the changes are not changes of traffic.
            if before.of_all(TOTAL) == 0:
                gaps[True] = MissingStart(None, 1.0)
            report = await self._compare(report, results, now, before)
            report = replace(report, earlier_gap=gaps.get(True))
        if is_empty(report):
            report = await self._diagnose_emptiness(report)
        else:
            if unasked := list_unasked(request, gaps):
                report = replace(report, notes=(*report.notes, *unasked))
            report = await self._diagnose_values(report, results)
        if self.oldest_s is None:
            return report
        return replace(report, result=replace(report.result, age_s=self.oldest_s))

    def explain(self, request: ReportRequest) -> tuple[ReportRequest, list[Step], tuple[str, ...]]:
        """The request with its buckets, the calls that `run` would make first, and notes.

        Later calls depend on results (plan.list_later_calls).

        Raises:
            InvalidQueryError: if it would be too large, or take too many upstream calls.
        """
        settled, notes = settle_buckets(request)
        self.calls += needs_group_count(request)
        planned = self._plan(settled)
        steps = list_steps(settled, planned)
        self.calls += count_queries(planned)
        for name, queries in self._list_looked_up(settled).items():
            self.calls += 1
            purpose = f"whether some row has the value of {name}, up to the first one"
            steps.append(Step(purpose, queries[0][1], len(queries)))
        return settled, steps, notes

    async def _settle(self, request: ReportRequest) -> tuple[ReportRequest, tuple[str, ...]]:
        """The request with buckets within the limits, and a note if they were changed."""
        if request.query.interval is None:
            return request, ()
        # The limit is on buckets times groups, so the groups are counted before the rows are asked.
        groups = 1
        if needs_group_count(request):
            (counted,) = await self._query_all([count_query(request)])
            groups = max(len(counted.points), 1)
        return settle_buckets(request, groups)

    def _plan(self, request: ReportRequest) -> dict[QueryRole, Query]:
        looked_up = self._list_looked_up(request)
        grouped = request.query.group_by
        listed = [name for _, name in listed_filters(request, self.catalog)]
        return plan_queries(
            request,
            has_all_row=self.has_all_row,
            most=self.most_calls - self.calls,
            present=[name for name in listed if name not in (*grouped, *looked_up)],
            is_by_rulings=self.backend.is_by_rulings,
        )

    def _list_looked_up(self, request: ReportRequest) -> dict[str, list[tuple[str, Query]]]:
        """The queries by field for the values of lists that an engine looks for one by one."""
        if not self.backend.is_by_rulings:
            return {}
        return {
            name: queries
            for filter_, name in listed_filters(request, self.catalog)
            if name not in request.query.group_by
            and (queries := existence_queries(request, filter_))
        }

    async def _look_up(self, queries: Sequence[tuple[str, Query]]) -> dict[str, Number] | None:
        """The values that some row has; None if the limit of calls is reached."""
        if self.calls >= self.most_calls:
            return None
        self.calls += 1  # together: each stops at its first row
        results = await run_all(self._query, [query for _, query in queries])
        return {
            text: 1
            for (text, _), result in zip(queries, results, strict=True)
            if add_up(result.column(TOTAL))
        }

    async def _run_plan(self, request: ReportRequest) -> tuple[dict[QueryRole, Result], Gaps]:
        """The results by role, in the request's shape, and the windows' starts without rows.

        Sums may be queried by buckets, which shows when the rows begin at no further call; they
        are folded into one row here.
        """
        planned = self._plan(request)
        queries = list(dict.fromkeys(planned.values()))  # two roles can share a query
        if request.local is not None:
            self._limiter = anyio.CapacityLimiter(MOST_AT_ONCE)
        found = dict(zip(queries, await self._query_all(queries, request), strict=True))
        results: dict[QueryRole, Result] = {}
        gaps: Gaps = {}
        for role, query in planned.items():
            result = found[query]
            if role.is_coverage or (query.interval is not None and request.query.interval is None):
                gaps[role.is_before] = find_gap(query, result)
                result = fold(query, result)
            elif role.is_ungrouped and role.rows is None and query.group_by:
                by_bucket = query.interval is not None
                result = fold(whole_query(query), result, by_bucket=by_bucket)
            if not role.is_coverage:
                results[role] = result
        return results, gaps

    async def _ask_recorded(
        self, request: ReportRequest, results: dict[QueryRole, Result]
    ) -> list[str]:
        """Add the results that tell rates of 0 from unrecorded ones; a note if calls ran out."""
        planned = find_unsure(request, results)
        wanted = list(dict.fromkeys(planned.values()))  # the later window's first
        queries = wanted[: max(self.most_calls - self.calls, 0)]
        found = dict(zip(queries, await self._query_all(queries, request), strict=True))
        results |= {role: found[query] for role, query in planned.items() if query in found}
        if len(queries) == len(wanted):
            return []
        where = "" if not queries else " in the earlier window"
        return [f"not checked whether rates of 0{where} were recorded at all (call limit reached)"]

    # --- why nothing matched ---

    async def _diagnose_emptiness(self, report: Report) -> Report:
        """The report with what the window holds without filters, if a call is left."""
        request = report.request
        if not request.query.filters or self.calls >= self.most_calls:
            return report
        probed = probed_filters(request, self.catalog)
        result, is_part = await self._probe(request, [field for _, field in probed])
        probe = read_probe(request, probed, result, is_later_alone=is_part)
        keys = await self._near_keys(request, absent_keys(result) if probe.total else [])
        in_the_way = None
        if probe.total and not probe.unmatched:
            in_the_way = await self._find_in_the_way(report)
        return replace(report, probe=probe, near_keys=keys, in_the_way=in_the_way)

    async def _find_in_the_way(self, report: Report) -> tuple[str, ...] | None:
        """The fields without whose filters rows match; None if that takes too many calls."""
        request = report.request
        dropping = dropping_queries(request)
        if len(dropping) == 1 and FIELD not in dropping and report.only_kind is None:
            return tuple(dropping)  # the probe was asked without it
        queries = [query for queries in dropping.values() for query in queries]
        if self.calls + len(queries) > self.most_calls:
            return None
        results = iter(await self._query_all(queries))
        matching = {
            name: join([next(results) for _ in queries]) for name, queries in dropping.items()
        }
        return tuple(name for name, result in matching.items() if add_up(result.column(TOTAL)))

    async def _diagnose_values(self, report: Report, results: Results) -> Report:
        """The report with similar values for filter values and metadata keys that no row has."""
        request = report.request
        unmatched: list[Unmatched] = []
        unsure: list[str] = []
        rows = sum(len(result.points) for result in results.values())
        looked_up = self._list_looked_up(request)
        for filter_, name in listed_filters(request, self.catalog):
            seen: Mapping[str, Number] | None
            if name in looked_up:
                seen = await self._look_up(looked_up[name])
            else:
                seen = await run_in_thread_if_large(rows, find_seen, request, results, name)
            if seen is None:
                unsure.append(f"unknown whether each value of {name} has rows: call limit reached")
            if seen is None or not any(find_unmatched(filter_, seen, None)):
                continue
            known = None  # similar values need the field's values in all rows: one more query
            if self.calls + len(list_spans(request)) <= self.most_calls:
                result, _ = await self._probe(request, [name])
                known = seen_values(request, result, name)
            unmatched += find_unmatched(filter_, seen, known)
        # Last, and only if a call is left: the answer names a key that no row has without it, too.
        keys = await self._near_keys(request, absent_keys(report.result))
        if not (unmatched or unsure or keys):
            return report
        notes = (*report.notes, *unsure)
        return replace(report, unmatched=tuple(unmatched), near_keys=keys, notes=notes)

    async def _probe(self, request: ReportRequest, fields: Sequence[str]) -> tuple[Result, bool]:
        """What the windows hold; True if calls ran short and only the later one was queried."""
        queries = probe_queries(request, fields)
        left = queries[: self.most_calls - self.calls]
        return join(await self._query_all(left)), len(left) < len(queries)

    async def _near_keys(
        self, request: ReportRequest, fields: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """Similar metadata keys for those that no row has; empty if the backend lists no keys."""
        if not fields or self.calls >= self.most_calls:
            return {}
        query = request.query
        self.calls += 1
        listed = await self.backend.metadata_keys(
            query.datasource, query.start_ts, query.end_ts, self.caller
        )
        if listed is None:
            return {}
        keys = list(list_seen(listed, 0))
        return {name: find_near_values(name.removeprefix(METADATA_PREFIX), keys) for name in fields}

    # --- two windows ---

    async def _compare(
        self, report: Report, results: Results, now: WindowRows, before: WindowRows
    ) -> Report:
        """The report with the rows of both windows joined."""
        request = report.request
        split, way_to_split = await self._split_cost(request, results, now, before)
        size = len(now.result.points) + len(before.result.points)
        compared = await run_in_thread_if_large(size, compare, now, before, report.values)
        return replace(
            report,
            result=compared.result,
            of_all=compared.totals if self.has_all_row else None,
            values=compared.values,
            priced=list_priced(request, now, before),
            windows=(now, before),
            new=compared.new,
            vanished=compared.vanished,
            earlier_spelt=before.spelt,
            split=split,
            way_to_split=way_to_split,
        )

    async def _split_cost(
        self, request: ReportRequest, results: Results, now: WindowRows, before: WindowRows
    ) -> tuple[CostDecomposition | None, str]:
        """The cost drivers; or, if calls ran out, how to ask for them with fewer calls."""
        if not asks_spend(request.values) or request.earlier is None:
            return None, ""
        costs, is_grouped = find_costs(request, results, now, before)
        if costs is None:
            queries = costed_queries(request, request.earlier, is_grouped=is_grouped)
            priced = list_priced(request, now, before)
            if any(one.is_exact and not one.priced for one in priced):
                return None, ""  # nor could any other question
            if self.calls + len(queries) > self.most_calls:
                return None, find_way_to_split(
                    request,
                    has_all_row=self.has_all_row,
                    most=self.most_calls,
                    is_by_rulings=self.backend.is_by_rulings,
                )
            costs = await self._query_all(queries)
        size = sum(len(result.points) for result in costs)
        split = await run_in_thread_if_large(size, split_change, *costs, is_grouped=is_grouped)
        return split, ""

    # --- queries ---

    async def _query_all(
        self, queries: Sequence[Query], request: ReportRequest | None = None
    ) -> list[Result]:
        """The results in the order of the queries; with a request, in its local buckets."""
        self.calls += len(queries)
        local = None if request is None else request.local

        async def run(query: Query) -> Result:
            if local is None or query.interval is None:
                return await self._query(query)
            return await run_local(self._query, query, local)

        return await run_all(run, queries)

    async def _query(self, query: Query) -> Result:
        async with self._limiter or nullcontext():
            result = await self.backend.query(query, self.caller)
        if result.age_s is not None:
            self.oldest_s = max(self.oldest_s or 0, result.age_s)
        return result
