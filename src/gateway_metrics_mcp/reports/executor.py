"""One tool call -> the upstream calls it takes, side by side -> what was asked and answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import TOTAL, Result
from gateway_metrics_mcp.query.suggestions import find_near_values
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX
from gateway_metrics_mcp.reports.assembly import (
    WindowRows,
    assemble_windows,
    choose_values,
    find_seen,
    is_partition,
)
from gateway_metrics_mcp.reports.columns import asks_spend
from gateway_metrics_mcp.reports.comparison import Row, compare, unless_same
from gateway_metrics_mcp.reports.cost_drivers import (
    CostDecomposition,
    all_of,
    costed_queries,
    find_costed,
    is_all_priced,
    list_priced,
    split_results,
)
from gateway_metrics_mcp.reports.diagnosis import (
    Unmatched,
    absent_keys,
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
from gateway_metrics_mcp.reports.explain import Step, list_steps
from gateway_metrics_mcp.reports.plan import (
    MOST_CALLS,
    MissingStart,
    QueryRole,
    count_queries,
    find_gap,
    find_way_to_split,
    fold,
    list_unasked,
    plan_queries,
)
from gateway_metrics_mcp.reports.report import Report, is_empty
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.reports.time_buckets import (
    MOST_AT_ONCE,
    ask_local,
    count_query,
    fetch_all,
    needs_group_count,
    settle_buckets,
)
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.runtime.tasks import run_in_thread_if_large


@dataclass(slots=True)
class QueryExecutor:
    """Asks the upstream calls of one tool call, and counts them."""

    backend: Backend
    caller: Caller
    catalog: Catalog
    now: datetime
    has_all_row: bool = True
    most_calls: int = MOST_CALLS
    calls: int = 0
    """Those made so far; days of another zone that are asked one by one count as one."""
    gaps: dict[bool, MissingStart | None] = field(default_factory=dict)
    """The start without rows of the earlier window (True), and of the present one, if known."""
    oldest_s: float | None = None
    """How old the oldest of the answers is that came from the cache."""
    way_to_split: str = ""
    """What to ask where it would take too many calls to say what a change of cost is made of."""
    _limiter: ConcurrencyLimiter | None = None
    """For days that are asked one by one; a few calls side by side need none."""

    async def ask(self, request: ReportRequest) -> Report:
        """Ask the question, and beside it all that an honest answer needs.

        Raises:
            InvalidQueryError: if it would be too large, or take too many calls.
            GatewayMetricsError: the first failure; the other calls are cancelled then.
        """
        request, notes = await self._settle(request)
        answers = await self._fetch_all(request, self._plan(request))
        raws = [r for call, r in answers.items() if call == QueryRole(is_before=call.is_before)]
        values = choose_values(request, raws)
        size = sum(len(result.points) for result in answers.values())
        sheet, before = await run_in_thread_if_large(
            size, assemble_windows, request, answers, values
        )
        report = Report(
            request,
            sheet.result,
            self._shown_totals(sheet),
            self.now,
            values,
            notes=notes,
            spelt=sheet.spelt,
            of_all=sheet.totals if self.has_all_row else None,
            gap=self.gaps.get(False),
            priced=list_priced(request, sheet),
            is_restricted=not (self.caller.is_tenant_admin or self.caller.token),
        )
        if before is not None:
            report = await self._compare(report, answers, sheet, before)
        if not is_empty(report):
            report = replace(report, notes=(*report.notes, *list_unasked(request, self.gaps)))
        report = await self._explain_absence(report, answers)
        if self.oldest_s is None:
            return report
        return replace(report, result=replace(report.result, age_s=self.oldest_s))

    def explain(self, request: ReportRequest) -> tuple[ReportRequest, list[Step], tuple[str, ...]]:
        """The calls that `ask` would make, as far as that is known before asking.

        Raises:
            InvalidQueryError: if it would be too large, or take too many calls.
        """
        settled, notes = settle_buckets(request)
        self.calls += needs_group_count(request)
        planned = self._plan(settled)
        self.calls += count_queries(planned)
        return settled, list_steps(settled, planned), notes

    async def _settle(self, request: ReportRequest) -> tuple[ReportRequest, tuple[str, ...]]:
        """The question with buckets that fit, and a note if they were changed."""
        groups = 1
        if needs_group_count(request):
            groups = max(len((await self._fetch(count_query(request))).points), 1)
        return settle_buckets(request, groups)

    def _plan(self, request: ReportRequest) -> dict[QueryRole, Query]:
        grouped = request.query.group_by
        listed = [name for _, name in listed_filters(request, self.catalog)]
        return plan_queries(
            request,
            has_all_row=self.has_all_row,
            most=self.most_calls - self.calls,
            present=[name for name in listed if name not in grouped],
        )

    async def _explain_absence(self, report: Report, answers: Mapping[QueryRole, Result]) -> Report:
        """What is there where nothing matched, and what comes near a value that none has."""
        request = report.request
        if is_empty(report):
            if not request.query.filters or self.calls >= self.most_calls:
                return report
            fields = [name for _, name in probed_filters(request, self.catalog)]
            result, is_part = await self._probe(request, fields)
            probe = read_probe(request, self.catalog, result, is_later_alone=is_part)
            keys = await self._near_keys(request, absent_keys(result) if probe.total else [])
            return replace(report, probe=probe, near_keys=keys)
        unmatched: list[Unmatched] = []
        unsure: list[str] = []
        for filter_, name in listed_filters(request, self.catalog):
            rows = sum(len(result.points) for result in answers.values())
            seen = await run_in_thread_if_large(rows, find_seen, request, answers, name)
            if seen is None:
                unsure.append(f"whether each value of {name} has rows was not asked: calls ran out")
            if seen is None or not any(find_unmatched(filter_, seen, None)):
                continue
            known = None
            if self.calls + len(list_spans(request)) <= self.most_calls:
                result, _ = await self._probe(request, [name])
                known = seen_values(request, result, name)
            unmatched += find_unmatched(filter_, seen, known)
        # Last, and only if a call is left: that no row has the key is said without it.
        keys = await self._near_keys(request, absent_keys(report.result))
        notes = (*report.notes, *unsure)
        return replace(report, unmatched=tuple(unmatched), near_keys=keys, notes=notes)

    async def _probe(self, request: ReportRequest, fields: Sequence[str]) -> tuple[Result, bool]:
        """What the windows hold; where calls run short the later one, and then True."""
        queries = probe_queries(request, fields)
        left = queries[: self.most_calls - self.calls]
        self.calls += len(left)
        return join(await fetch_all(self._query, left)), len(left) < len(queries)

    async def _near_keys(
        self, request: ReportRequest, fields: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """The metadata keys that resemble those that no row has, where keys can be listed."""
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

    async def _compare(
        self,
        report: Report,
        answers: Mapping[QueryRole, Result],
        now: WindowRows,
        before: WindowRows,
    ) -> Report:
        if before.of_all(TOTAL) == 0:
            self.gaps[True] = MissingStart(None, 1.0)
        split = await self._split_cost(report.request, answers, now, before)
        size = len(now.result.points) + len(before.result.points)
        compared = await run_in_thread_if_large(size, compare, now, before, report.values)
        of_all = compared.totals if self.has_all_row else None
        return report.compared_with(
            compared.result,
            unless_same(of_all, compared.result),
            compared.values,
            of_all=of_all,
            priced=list_priced(report.request, now, before),
            new=compared.new,
            vanished=compared.vanished,
            earlier_gap=self.gaps.get(True),
            earlier_spelt=before.spelt,
            split=split,
            way_to_split=self.way_to_split,
        )

    async def _split_cost(
        self,
        request: ReportRequest,
        answers: Mapping[QueryRole, Result],
        now: WindowRows,
        before: WindowRows,
    ) -> CostDecomposition | None:
        """What a change of cost is made of, of the calls that have a price.

        Where some have none, those are asked apart. Groups that share calls, or are not all
        calls, cannot tell: then all calls together do.
        """
        if not asks_spend(request.values):
            return None
        sheets = (now, before)
        is_grouped = all(is_partition(request, sheet.raw, sheet.of_all(TOTAL)) for sheet in sheets)
        results: list[Result | None] = [
            sheet.raw if is_grouped else all_of(sheet) for sheet in sheets
        ]
        if not all(is_all_priced(sheet) for sheet in sheets):
            grouped = is_grouped and bool(request.query.group_by)
            results = [
                find_costed(answers, is_before=is_before, is_grouped=grouped)
                for is_before in (False, True)
            ]
            if None in results:
                if self.calls + 2 > self.most_calls or request.earlier is None:
                    self.way_to_split = find_way_to_split(
                        request, has_all_row=self.has_all_row, most=self.most_calls
                    )
                    return None
                self.calls += 2
                queries = costed_queries(request, request.earlier, is_grouped=is_grouped)
                results = [*await fetch_all(self._query, queries)]
        ours, theirs = results
        if ours is None or theirs is None:
            return None
        size = len(ours.points) + len(theirs.points)
        return await run_in_thread_if_large(
            size, split_results, ours, theirs, is_grouped=is_grouped
        )

    async def _fetch_all(
        self, request: ReportRequest, planned: Mapping[QueryRole, Query]
    ) -> dict[QueryRole, Result]:
        queries = list(dict.fromkeys(planned.values()))
        self.calls += len(queries)

        if request.local is not None:
            self._limiter = ConcurrencyLimiter(MOST_AT_ONCE)

        async def fetch(query: Query) -> Result:
            if request.local is None or query.interval is None:
                return await self._query(query)
            return await ask_local(self._query, query, request.local)

        results = dict(zip(queries, await fetch_all(fetch, queries), strict=True))
        answers = {call: results[query] for call, query in planned.items()}
        for call, query in planned.items():
            if call.is_coverage or (query.interval is not None and request.query.interval is None):
                self.gaps[call.is_before] = find_gap(query, answers[call])
                answers[call] = fold(query, answers[call])
        return {call: result for call, result in answers.items() if not call.is_coverage}

    async def _fetch(self, query: Query) -> Result:
        self.calls += 1
        return await self._query(query)

    async def _query(self, query: Query) -> Result:
        async with self._limiter.acquire() if self._limiter else nullcontext():
            result = await self.backend.query(query, self.caller)
        if result.age_s is not None:
            self.oldest_s = max(self.oldest_s or 0, result.age_s)
        return result

    def _shown_totals(self, sheet: WindowRows) -> Row | None:
        """The ALL row, unless it is switched off or says the same as a single row."""
        return unless_same(sheet.totals, sheet.result) if self.has_all_row else None
