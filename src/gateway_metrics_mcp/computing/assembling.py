"""The results of the upstream calls of one window -> the rows of the answer, measures computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway_metrics_mcp.computing.chosen_rows import Chosen, Spelt, choose
from gateway_metrics_mcp.computing.plan import ALL_ROWS, Call
from gateway_metrics_mcp.computing.probing import SUBJECT_KINDS, join, list_seen
from gateway_metrics_mcp.query.measures import Measure, Rows, Term
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.result import TOTAL, DataPoint, DataPoints, Number, Result
from gateway_metrics_mcp.sums import add_up, ratio_of
from gateway_metrics_mcp.values import Share, Value


@dataclass(frozen=True, slots=True)
class Sheet:
    """The answer of one window: rows of the values shown, and what the API said beneath them.

    `totals` is the ALL row; `raw` has all values asked; `spelt` by the measures that read them.
    """

    result: Result
    totals: tuple[Number | None, ...] | None
    raw: Result
    raw_all: DataPoint | None
    spelt: Mapping[str, Spelt]

    def of_all(self, name: str) -> Number | None:
        """A value of the API over all rows; of the only row where nothing is grouped."""
        point = self.raw_all
        if point is None and len(self.raw.points) == 1 and not self.raw.key_names:
            point = self.raw.points[0]
        if point is None or name not in self.raw.value_names:
            return None
        return point.values[self.raw.value_names.index(name)]


def assemble_windows(
    question: Question, answers: Mapping[Call, Result], values: Sequence[Value]
) -> tuple[Sheet, Sheet | None]:
    """The sheet of the window, and that of the earlier one where two are compared."""
    sheet = assemble(question, answers, values)
    if question.earlier is None:
        return sheet, None
    return sheet, assemble(question, answers, values, is_before=True)


def find_seen(
    question: Question, answers: Mapping[Call, Result], name: str
) -> Mapping[str, int | float] | None:
    """The values of a field in the rows that match; None if they were not asked."""
    if name in question.query.group_by:
        position = answers[Call()].key_names.index(question.datasource.response_key(name))
        mains = [r for call, r in answers.items() if call == Call(is_before=call.is_before)]
        return {k: n for main in mains for k, n in list_seen(main, position).items()}
    present = [result for call, result in answers.items() if call.present == name]
    return list_seen(join(present), 0) if present else None


def assemble(
    question: Question,
    answers: Mapping[Call, Result],
    values: Sequence[Value],
    *,
    is_before: bool = False,
) -> Sheet:
    """The sheet of one window, from the answers to its calls."""
    mine = {call: result for call, result in answers.items() if call.is_before == is_before}
    raw = mine[Call(is_before)]
    width = len(raw.key_names)
    rows = _Parts(
        raw,
        {
            call.rows: choose(result, call.rows, width)
            for call, result in mine.items()
            if not call.is_all and call.rows != ALL_ROWS
        },
    )
    whole = mine.get(Call(is_before, is_all=True))
    everything = None
    is_series = question.query.interval is not None
    if whole is not None and (is_series or whole.value_names == raw.value_names):
        everything = _Parts(whole, _choose_of_all(question, mine, raw, whole, rows))
    names = tuple(value.name for value in values)
    result = replace(raw, value_names=names, points=rows.compute(values, everything))
    totals, raw_all = None, None
    is_one = whole is not None and len(whole.points) == 1
    if everything is not None and whole is not None and is_one and not is_series:
        raw_all = whole.points[0]
        totals = everything.compute(values, everything)[0].values
    return Sheet(result, totals, raw, raw_all, rows.spelt(values))


@dataclass(slots=True)
class _Parts:
    """What was asked of one window and grouping: the rows, and those of the measures' terms."""

    raw: Result
    chosen: Mapping[Rows, Chosen | None]

    def compute(self, values: Sequence[Value], everything: _Parts | None) -> Sequence[DataPoint]:
        """The rows with these values; column by column, since there can be very many."""
        points = self.raw.points
        if self.raw.value_names == tuple(value.name for value in values):
            return points
        columns = [self._column(value, everything) for value in values]
        rows = zip(*columns, strict=True) if columns else (() for _ in points)
        return DataPoints([(p.keys, cells, p.start) for p, cells in zip(points, rows, strict=True)])

    def spelt(self, values: Sequence[Value]) -> dict[str, Spelt]:
        """What the measures took that read a field's values."""
        found: dict[str, Spelt] = {}
        for value in values:
            for term in value.source.terms if isinstance(value.source, Measure) else ():
                chosen = self.chosen.get(term.rows)
                if chosen is not None and chosen.spelt is not None:
                    found[value.name] = chosen.spelt
        return found

    def _column(self, value: Value, everything: _Parts | None) -> list[Number | None]:
        points, source = self.raw.points, value.source
        if isinstance(source, Measure):
            return [
                ratio_of(
                    self._term(point, source.numerator),
                    self._term(point, source.denominator),
                    source.scale,
                )
                for point in points
            ]
        if isinstance(source, Share):
            return self._shares(source, everything)
        return self._plain(value.name)

    def _plain(self, name: str) -> list[Number | None]:
        if name not in self.raw.value_names:
            return [math.nan] * len(self.raw.points)
        position = self.raw.value_names.index(name)
        return [point.values[position] for point in self.raw.points]

    def _term(self, point: DataPoint, term: Term) -> Number | None:
        if not term.rows.is_all:
            chosen = self.chosen.get(term.rows)
            return math.nan if chosen is None else chosen.sum_of(point, term.aggregations)
        names = [aggregation.key for aggregation in term.aggregations] or [TOTAL]
        return add_up(self._of(point, name) for name in names)

    def _shares(self, share: Share, everything: _Parts | None) -> list[Number | None]:
        """Each row's part of ALL, in a timeseries of its bucket's."""
        parts = self._plain(share.of)
        if everything is None:
            return [math.nan if self.raw.key_names else ratio_of(part, part) for part in parts]
        of_all = everything._plain(share.of)  # noqa: SLF001 - another of this class
        starts = [point.start for point in everything.raw.points]
        wholes = dict(zip(starts, of_all, strict=True))
        rows = zip(self.raw.points, parts, strict=True)
        return [ratio_of(part, wholes.get(point.start, math.nan)) for point, part in rows]

    def _of(self, point: DataPoint, name: str) -> Number | None:
        names = self.raw.value_names
        return point.values[names.index(name)] if name in names else math.nan


def is_partition(question: Question, rows: Result, of_all: Number | None) -> bool:
    """Whether the groups are all calls, each in one group: they add up to ALL, and not by chance.

    By team calls count twice, and others can be left out: then the two can balance.
    """
    fields = set(question.query.group_by)
    is_left_out = len(fields & SUBJECT_KINDS.keys()) == 1 or not rows.is_by_rulings
    if TOTAL not in rows.value_names or ("team" in fields and is_left_out):
        return False
    return add_up(rows.column(TOTAL)) == of_all


def _choose_of_all(
    question: Question,
    answers: Mapping[Call, Result],
    raw: Result,
    whole: Result,
    rows: _Parts,
) -> dict[Rows, Chosen | None]:
    """The terms over all rows: as asked, or added up where the groups share no rows.

    That they do not is known when they add up to ALL.
    """
    is_whole = TOTAL in whole.value_names and is_partition(question, raw, _total(whole))
    found: dict[Rows, Chosen | None] = {}
    for needed, chosen in rows.chosen.items():
        asked = [r for call, r in answers.items() if call.is_all and call.rows == needed]
        if asked:
            found[needed] = choose(asked[0], needed, 0)
        elif chosen is not None and is_whole:
            found[needed] = chosen.as_one_group()
        else:
            found[needed] = None
    return found


def _total(result: Result) -> Number | None:
    return add_up(result.column(TOTAL))
