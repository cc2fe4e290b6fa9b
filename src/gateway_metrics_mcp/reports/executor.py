"""One tool call -> the upstream calls it takes, side by side -> what was asked and answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import TOTAL, Result
from gateway_metrics_mcp.query.suggestions import find_near_values
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX
from gateway_metrics_mcp.reports.assembly import (
    Sheet,
    assemble_windows,
    choose_values,
    find_seen,
    is_partition,
)
from gateway_metrics_mcp.reports.columns import asks_spend
from gateway_metrics_mcp.reports.comparison import Row, compare, unless_same
from gateway_metrics_mcp.reports.cost_drivers import (
    Split,
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
    Call,
    Gap,
    count_queries,
    find_gap,
    find_way_to_split,
    fold,
    list_unasked,
    plan_calls,
)
from gateway_metrics_mcp.reports.report import Asked, is_empty
from gateway_metrics_mcp.reports.request import Question
from gateway_metrics_mcp.reports.time_buckets import (
    MOST_AT_ONCE,
    ask_local,
    count_query,
    fetch_all,
    needs_group_count,
    settle_buckets,
)
from gateway_metrics_mcp.runtime.tasks import work_aside


@dataclass(slots=True)
class Asker:
    """Asks the upstream calls of one tool call, and counts them."""

    backend: Backend
    caller: Caller
    catalog: Catalog
    now: datetime
    has_all_row: bool = True
    most_calls: int = MOST_CALLS
    calls: int = 0
    """Those made so far; days of another zone that are asked one by one count as one."""
    gaps: dict[bool, Gap | None] = field(default_factory=dict)
    """The start without rows of the earlier window (True), and of the present one, if known."""
    oldest_s: float | None = None
    """How old the oldest of the answers is that came from the cache."""
    way_to_split: str = ""
    """What to ask where it would take too many calls to say what a change of cost is made of."""
    _limiter: anyio.CapacityLimiter | None = None
    """For days that are asked one by one; a few calls side by side need none."""

    async def ask(self, question: Question) -> Asked:
        """Ask the question, and beside it all that an honest answer needs.

        Raises:
            InvalidQueryError: if it would be too large, or take too many calls.
            GatewayMetricsError: the first failure; the other calls are cancelled then.
        """
        question, notes = await self._settle(question)
        answers = await self._fetch_all(question, self._plan(question))
        raws = [r for call, r in answers.items() if call == Call(is_before=call.is_before)]
        values = choose_values(question, raws)
        size = sum(len(result.points) for result in answers.values())
        sheet, before = await work_aside(size, assemble_windows, question, answers, values)
        asked = Asked(
            question,
            sheet.result,
            self._shown_totals(sheet),
            self.now,
            values,
            notes=notes,
            spelt=sheet.spelt,
            of_all=sheet.totals if self.has_all_row else None,
            gap=self.gaps.get(False),
            priced=list_priced(question, sheet),
            is_restricted=not (self.caller.is_tenant_admin or self.caller.token),
        )
        if before is not None:
            asked = await self._compare(asked, answers, sheet, before)
        if not is_empty(asked):
            asked = replace(asked, notes=(*asked.notes, *list_unasked(question, self.gaps)))
        asked = await self._explain_absence(asked, answers)
        if self.oldest_s is None:
            return asked
        return replace(asked, result=replace(asked.result, age_s=self.oldest_s))

    def explain(self, question: Question) -> tuple[Question, list[Step], tuple[str, ...]]:
        """The calls that `ask` would make, as far as that is known before asking.

        Raises:
            InvalidQueryError: if it would be too large, or take too many calls.
        """
        settled, notes = settle_buckets(question)
        self.calls += needs_group_count(question)
        planned = self._plan(settled)
        self.calls += count_queries(planned)
        return settled, list_steps(settled, planned), notes

    async def _settle(self, question: Question) -> tuple[Question, tuple[str, ...]]:
        """The question with buckets that fit, and a note if they were changed."""
        groups = 1
        if needs_group_count(question):
            groups = max(len((await self._fetch(count_query(question))).points), 1)
        return settle_buckets(question, groups)

    def _plan(self, question: Question) -> dict[Call, Query]:
        grouped = question.query.group_by
        listed = [name for _, name in listed_filters(question, self.catalog)]
        return plan_calls(
            question,
            has_all_row=self.has_all_row,
            most=self.most_calls - self.calls,
            present=[name for name in listed if name not in grouped],
        )

    async def _explain_absence(self, asked: Asked, answers: Mapping[Call, Result]) -> Asked:
        """What is there where nothing matched, and what comes near a value that none has."""
        question = asked.question
        if is_empty(asked):
            if not question.query.filters or self.calls >= self.most_calls:
                return asked
            fields = [name for _, name in probed_filters(question, self.catalog)]
            result, is_part = await self._probe(question, fields)
            probe = read_probe(question, self.catalog, result, is_later_alone=is_part)
            keys = await self._near_keys(question, absent_keys(result) if probe.total else [])
            return replace(asked, probe=probe, near_keys=keys)
        unmatched: list[Unmatched] = []
        unsure: list[str] = []
        for filter_, name in listed_filters(question, self.catalog):
            rows = sum(len(result.points) for result in answers.values())
            seen = await work_aside(rows, find_seen, question, answers, name)
            if seen is None:
                unsure.append(f"whether each value of {name} has rows was not asked: calls ran out")
            if seen is None or not any(find_unmatched(filter_, seen, None)):
                continue
            known = None
            if self.calls + len(list_spans(question)) <= self.most_calls:
                result, _ = await self._probe(question, [name])
                known = seen_values(question, result, name)
            unmatched += find_unmatched(filter_, seen, known)
        # Last, and only if a call is left: that no row has the key is said without it.
        keys = await self._near_keys(question, absent_keys(asked.result))
        notes = (*asked.notes, *unsure)
        return replace(asked, unmatched=tuple(unmatched), near_keys=keys, notes=notes)

    async def _probe(self, question: Question, fields: Sequence[str]) -> tuple[Result, bool]:
        """What the windows hold; where calls run short the later one, and then True."""
        queries = probe_queries(question, fields)
        left = queries[: self.most_calls - self.calls]
        self.calls += len(left)
        return join(await fetch_all(self._query, left)), len(left) < len(queries)

    async def _near_keys(
        self, question: Question, fields: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """The metadata keys that resemble those that no row has, where keys can be listed."""
        if not fields or self.calls >= self.most_calls:
            return {}
        query = question.query
        self.calls += 1
        listed = await self.backend.metadata_keys(
            query.datasource, query.start_ts, query.end_ts, self.caller
        )
        if listed is None:
            return {}
        keys = list(list_seen(listed, 0))
        return {name: find_near_values(name.removeprefix(METADATA_PREFIX), keys) for name in fields}

    async def _compare(
        self, asked: Asked, answers: Mapping[Call, Result], now: Sheet, before: Sheet
    ) -> Asked:
        if before.of_all(TOTAL) == 0:
            self.gaps[True] = Gap(None, 1.0)
        split = await self._split_cost(asked.question, answers, now, before)
        size = len(now.result.points) + len(before.result.points)
        compared = await work_aside(size, compare, now, before, asked.values)
        of_all = compared.totals if self.has_all_row else None
        return asked.compared_with(
            compared.result,
            unless_same(of_all, compared.result),
            compared.values,
            of_all=of_all,
            priced=list_priced(asked.question, now, before),
            new=compared.new,
            vanished=compared.vanished,
            earlier_gap=self.gaps.get(True),
            earlier_spelt=before.spelt,
            split=split,
            way_to_split=self.way_to_split,
        )

    async def _split_cost(
        self, question: Question, answers: Mapping[Call, Result], now: Sheet, before: Sheet
    ) -> Split | None:
        """What a change of cost is made of, of the calls that have a price.

        Where some have none, those are asked apart. Groups that share calls, or are not all
        calls, cannot tell: then all calls together do.
        """
        if not asks_spend(question.values):
            return None
        sheets = (now, before)
        is_grouped = all(is_partition(question, sheet.raw, sheet.of_all(TOTAL)) for sheet in sheets)
        results: list[Result | None] = [
            sheet.raw if is_grouped else all_of(sheet) for sheet in sheets
        ]
        if not all(is_all_priced(sheet) for sheet in sheets):
            grouped = is_grouped and bool(question.query.group_by)
            results = [
                find_costed(answers, is_before=is_before, is_grouped=grouped)
                for is_before in (False, True)
            ]
            if None in results:
                if self.calls + 2 > self.most_calls or question.earlier is None:
                    self.way_to_split = find_way_to_split(
                        question, has_all_row=self.has_all_row, most=self.most_calls
                    )
                    return None
                self.calls += 2
                queries = costed_queries(question, question.earlier, is_grouped=is_grouped)
                results = [*await fetch_all(self._query, queries)]
        ours, theirs = results
        if ours is None or theirs is None:
            return None
        size = len(ours.points) + len(theirs.points)
        return await work_aside(size, split_results, ours, theirs, is_grouped=is_grouped)

    async def _fetch_all(
        self, question: Question, planned: Mapping[Call, Query]
    ) -> dict[Call, Result]:
        queries = list(dict.fromkeys(planned.values()))
        self.calls += len(queries)

        if question.local is not None:
            self._limiter = anyio.CapacityLimiter(MOST_AT_ONCE)

        async def fetch(query: Query) -> Result:
            if question.local is None or query.interval is None:
                return await self._query(query)
            return await ask_local(self._query, query, question.local)

        results = dict(zip(queries, await fetch_all(fetch, queries), strict=True))
        answers = {call: results[query] for call, query in planned.items()}
        for call, query in planned.items():
            if call.is_coverage or (query.interval is not None and question.query.interval is None):
                self.gaps[call.is_before] = find_gap(query, answers[call])
                answers[call] = fold(query, answers[call])
        return {call: result for call, result in answers.items() if not call.is_coverage}

    async def _fetch(self, query: Query) -> Result:
        self.calls += 1
        return await self._query(query)

    async def _query(self, query: Query) -> Result:
        async with self._limiter or nullcontext():
            result = await self.backend.query(query, self.caller)
        if result.age_s is not None:
            self.oldest_s = max(self.oldest_s or 0, result.age_s)
        return result

    def _shown_totals(self, sheet: Sheet) -> Row | None:
        """The ALL row, unless it is switched off or says the same as a single row."""
        return unless_same(sheet.totals, sheet.result) if self.has_all_row else None
