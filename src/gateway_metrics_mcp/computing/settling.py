"""A timeseries of many groups -> buckets that keep its answer small, before it is fetched."""

from __future__ import annotations

from dataclasses import replace

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.interval import Interval
from gateway_metrics_mcp.query.local_calls import check_local
from gateway_metrics_mcp.query.local_days import Buckets
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.question_buckets import (
    BUCKETS_BY_DEFAULT,
    INTERVALS,
    MOST_POINTS,
    localise,
)


def needs_group_count(question: Question) -> bool:
    """Whether the number of groups decides if the answer is too large."""
    return question.query.interval is not None and bool(question.query.group_by)


def count_query(question: Question) -> Query:
    """The cheapest question that tells the groups: a distribution of them, without values."""
    update = {"type": "distribution", "interval": None, "aggregations": ()}
    return question.query.model_copy(update=update)


def settle_buckets(question: Question, groups: int = 1) -> tuple[Question, tuple[str, ...]]:
    """The question with buckets that fit, and what was changed.

    An interval that was left to us is widened; one that was asked stands.

    Raises:
        InvalidQueryError: with what fits, if it does not.
    """
    wrong = _find_wrong(question, groups)
    if wrong is None:
        return question, ()
    better = _find_better(question, groups)
    if better is None:
        raise InvalidQueryError([Problem("interval", wrong)])
    interval = better.query.interval
    reason, _, advice = wrong.partition(". ")
    if question.is_interval_ours:
        return better, (f"buckets of {interval}: {reason}",)
    advice = advice or "Give a shorter window"
    proposal = f"Use {interval}, or {advice[0].lower()}{advice[1:]}"
    raise InvalidQueryError([Problem("interval", f"{reason}. {proposal}")])


def _find_better(question: Question, groups: int) -> Question | None:
    """The same in the narrowest usual buckets that fit."""
    for interval in INTERVALS:
        better = _with_interval(question, interval)
        buckets = buckets_of(better)
        window = (better.query.start_ts, better.query.end_ts)
        is_usual = buckets is not None and buckets.count_buckets(*window) <= BUCKETS_BY_DEFAULT
        if is_usual and _find_wrong(better, groups) is None:
            return better
    return None


def _with_interval(question: Question, interval: Interval) -> Question:
    query = question.query.model_copy(update={"interval": interval})
    return replace(question, query=query, local=localise(interval, question.window.zone))


def buckets_of(question: Question) -> Buckets | None:
    """The buckets of the answer: the zone's own, or the query's; None in a distribution."""
    return question.local or question.query.interval


def _find_wrong(question: Question, groups: int) -> str | None:
    """Why these buckets cannot be had."""
    buckets = buckets_of(question)
    if buckets is None:
        return None
    count = buckets.count_buckets(question.query.start_ts, question.query.end_ts)
    if count * groups > MOST_POINTS:
        of = f"{groups} groups x {count} buckets" if groups > 1 else f"{count} buckets"
        return f"{of} of {question.query.interval} are more than {MOST_POINTS} points"
    return None if question.local is None else check_local(question.query, question.local)
