"""One of the two ends of a window as the asker wrote it: any form, or why it is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar, cast

from gateway_metrics_mcp.query.datemath import read_date_maths
from gateway_metrics_mcp.query.instant import read_instant
from gateway_metrics_mcp.query.near import quote
from gateway_metrics_mcp.query.period import Span, read_period
from gateway_metrics_mcp.query.slips import explain_epoch, is_ahead, respell
from gateway_metrics_mcp.query.walltime import FIRST_YEAR, LAST_YEAR, Clock, format_minute
from gateway_metrics_mcp.query.zone import LONGEST

STARTS: Final = (
    'Give ISO 8601 ("2026-07-01T00:00:00Z"), a date, "now-7d", or a period: today, yesterday, '
    "this week, last 7 days, last month, 2026-07, 2026-W30, 2026-Q3, 2026-07-01..2026-07-15"
)
"""What `startTs` may be."""

ENDS: Final = (
    'Give ISO 8601 ("2026-07-01T00:00:00Z"), a date (which leaves that day out), '
    '"now" or "now-1d", or leave it out'
)
"""What `endTs` may be."""

_LARGEST: Final = 10**20
_T = TypeVar("_T")
_Reader = Callable[[str, Clock], _T | None]


def read_start(value: object, clock: Clock) -> Span:
    """The period of a `startTs`; one that names an instant runs from there to now.

    Raises:
        ValueError: with a message for the asker, if it is neither.
    """
    return _read(value, clock, _start, STARTS)


def read_end(value: object, clock: Clock) -> datetime:
    """The instant of an `endTs`, in UTC; the name of a calendar period means its start.

    Raises:
        ValueError: with a message for the asker, if it is none.
    """
    return _read(value, clock, _end, ENDS)


def tidy(value: object) -> str:
    """Text without outer spaces and with single inner ones; empty if it is no text."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _read(value: object, clock: Clock, reader: _Reader[_T], forms: str) -> _T:
    text = _text(value, forms)
    try:
        found = reader(text, clock)
    except OverflowError:
        raise ValueError(
            f"{quote(text)} is outside the years {FIRST_YEAR} to {LAST_YEAR}"
        ) from None
    if found is not None:
        return found
    if is_ahead(text):
        raise ValueError(f"{quote(text)} is in the future, where there are no data. {forms}")
    epoch = explain_epoch(text)
    if epoch is not None:
        raise ValueError(f"{quote(text)} is {epoch}. {forms}")
    meant = next((near for near in respell(text) if _reads(near, clock, reader)), None)
    hint = "" if meant is None else f'Did you mean "{meant}"? '
    raise ValueError(f"{quote(text)} is not a time that is known here. {hint}{forms}")


def _text(value: object, forms: str) -> str:
    # Beyond the bound are infinities and integers too long for a message.
    if type(value) in (int, float) and -_LARGEST < cast("float", value) < _LARGEST:
        epoch = explain_epoch(str(int(cast("float", value))))
        raise ValueError(f"{quote(value)} is {epoch or 'a number, not text'}. {forms}")
    if not isinstance(value, str):
        wrong = "missing" if value is None else f"expected text, got {quote(value)}"
        raise ValueError(f"{wrong}. {forms}")  # noqa: TRY004 - the asker's slip, told like the others
    text = tidy(value)
    if not text:
        raise ValueError(f"the text is empty. {forms}")
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} letters are more than the {LONGEST} of a time. {forms}")
    return text


def _reads(text: str, clock: Clock, reader: _Reader[_T]) -> bool:
    """Whether a respelling would be taken; a start at now or later would not."""
    try:
        found = reader(text, clock)
    except (ValueError, OverflowError):
        return False
    return found is not None and not (isinstance(found, Span) and found.start >= clock.now)


def _start(text: str, clock: Clock) -> Span | None:
    span = read_period(text, clock)
    if span is None:
        instant = _instant(text, clock, is_end=False)
        span = None if instant is None else Span(instant, clock.now)
    if span is not None:
        _check_year(span.start)
    return span


def _end(text: str, clock: Clock) -> datetime | None:
    # Before the periods: as an end, Grafana's now/d is the end of the day.
    instant = _instant(text, clock, is_end=True)
    if instant is None:
        span = read_period(text, clock)
        if span is None:
            return None
        if not span.is_point:
            start, end = format_minute(span.start), format_minute(span.end)
            raise ValueError(
                f"{quote(text)} is a stretch of time, from {start} to {end}, and an end is an "
                "instant. Give it as startTs and leave endTs out, or give one of the two"
            )
        instant = span.start
    _check_year(instant)
    return instant


def _instant(text: str, clock: Clock, *, is_end: bool) -> datetime | None:
    instant = read_date_maths(text, clock, is_end=is_end)
    return instant or read_instant(text, clock.zone)


def _check_year(instant: datetime) -> None:
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise OverflowError
