"""An answer for programs: the same facts as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.budget import Room, write_link_line
from gateway_metrics_mcp.answers.empty import explain_empty, is_empty
from gateway_metrics_mcp.answers.grid import Grid
from gateway_metrics_mcp.answers.header import pin_window
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.answers.series import Series
from gateway_metrics_mcp.answers.sorting import sort_points
from gateway_metrics_mcp.answers.tokens import estimate_tokens
from gateway_metrics_mcp.query.model import format_instant
from gateway_metrics_mcp.result import DataPoint, Key

_LONGEST: Final = 128
"""The most characters of a metadata value on the gateway."""

_MOST_OF_BUDGET: Final = 0.6
"""What stands before the rows may take no more; else the request, which was sent, gives way."""

_MOST_NOTES: Final = 5
_NO_REQUEST: Final = "the request is too long to be shown"
_NEXT_TOKENS: Final = 60
"""Room for the arguments that continue."""


@dataclass(slots=True)
class _Rows:
    """The rows that are shown: all there are, what there is room for, and how to get on."""

    count: int
    shown: list[list[Any]] = field(default_factory=list)
    following: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def write_json(asked: Asked, budget: int) -> str:
    """Columns once, a list per row; rows beyond the budget are counted, never cut in half.

    `next` are the arguments that continue, to be merged into those of this call; `csv`, only
    where rows are left out, the URI of all.
    """
    question = asked.question
    grid = None if asked.buckets is None else Grid(asked, asked.buckets)
    facts = [] if grid is None else grid.bucket_facts()
    empty = explain_empty(asked) if is_empty(asked) else []
    names = [*asked.result.key_names, *asked.result.value_names]
    body: dict[str, Any] = {
        "request": question.query.to_body(),
        "scope": question.scope,
        "notes": [line.removeprefix("# ") for line in (*empty, *write_notes(asked), *facts)],
        "columns": names if grid is None else ["startTimestamp", *names],
        "all": None if asked.totals is None else list(map(_finite, asked.totals)),
    }
    if estimate_tokens(_dump(body)) > budget * _MOST_OF_BUDGET:
        notes = body["notes"]
        rest = len(notes) - _MOST_NOTES
        more = [f"and {rest} more notes, for which the budget is too small"] if rest > 0 else []
        body |= {"request": None, "notes": [_NO_REQUEST, *notes[:_MOST_NOTES], *more]}
    room = Room(budget - _NEXT_TOKENS)
    room.take(_dump(body))
    rows = _groups(asked, room) if grid is None else _buckets(asked, grid.series, room)
    if len(rows.shown) < rows.count and write_link_line("", asked.link, budget):
        body["csv"] = asked.link
        room = Room(budget - _NEXT_TOKENS)
        room.take(_dump(body))
        rows = _groups(asked, room) if grid is None else _buckets(asked, grid.series, room)
    body |= rows.facts
    body["rowCount"] = rows.count
    body["isComplete"] = len(rows.shown) == rows.count
    body["next"] = rows.following
    body["rows"] = rows.shown
    return _dump(body)


def _groups(asked: Asked, room: Room) -> _Rows:
    """The rows of a distribution from `offset` on; at least one, so that a next call gets on."""
    points, question = sort_points(asked), asked.question
    first = min(question.offset, len(points))
    last = None if question.limit is None else first + question.limit
    rows = _Rows(len(points), facts={"offset": question.offset})
    for point in points[first:last]:
        row = _row(point, room)
        if not room.fits(_dump(row)) and rows.shown:
            break
        rows.shown.append(row)
    reached = first + len(rows.shown)
    if reached < len(points):
        rows.following = {"offset": reached}
        if question.window.is_to_now:
            rows.following |= _pinned(asked)
    return rows


def _buckets(asked: Asked, series: Sequence[Series], room: Room) -> _Rows:
    """The rows of the largest series, whole buckets of them; at least one bucket of one series."""
    most = min(asked.question.limit or len(series), len(series))
    rows = _cut_buckets(asked, series[:most], room, must_get_on=most == 1)
    while most > 1 and not rows.shown:
        most //= 2
        rows = _cut_buckets(asked, series[:most], room, must_get_on=most == 1)
    rows.facts = {"seriesShown": most, "seriesCount": len(series)}
    return rows


def _cut_buckets(asked: Asked, series: Sequence[Series], room: Room, *, must_get_on: bool) -> _Rows:
    """The buckets that fit, each with the rows of all these series."""
    rows = _Rows(len(asked.result.points))
    for start in sorted({start for one in series for start in one.values}):
        added = [
            _row(DataPoint(one.keys, tuple(one.values[start]), start), room)
            for one in series
            if start in one.values
        ]
        if not room.fits(_dump(added)) and (rows.shown or not must_get_on):
            rows.following = _pinned(asked) | {"startTs": format_instant(start)}
            break
        rows.shown += added
    return rows


def _pinned(asked: Asked) -> dict[str, Any]:
    """The window, and the buckets, of this answer as arguments."""
    interval = asked.question.query.interval
    arguments: dict[str, Any] = dict(part.split("=") for part in pin_window(asked.question))
    return arguments if interval is None else arguments | {"interval": interval.wire}


def _row(point: DataPoint, room: Room) -> list[Any]:
    start = [] if point.start is None else [format_instant(point.start)]
    show = _finite if room.is_unlimited else _cut
    return [*start, *map(show, point.keys), *map(_finite, point.values)]


def _cut(key: Key) -> Key:
    """Longer text than any name has is cut, and the rest counted."""
    if isinstance(key, str) and len(key) > _LONGEST:
        return f"{key[:_LONGEST]}…(+{len(key) - _LONGEST})"
    return _finite(key)


def _finite(value: Key) -> Key:
    """JSON has no number for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
