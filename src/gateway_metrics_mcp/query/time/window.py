"""Reads the time arguments of a tool call as a window [start, end) in UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import (
    Fix,
    InvalidQueryError,
    MisspeltError,
    Problem,
    Problems,
    quote,
)
from gateway_metrics_mcp.query.time.corrections import (
    explain_epoch,
    is_ahead,
    read_as,
    respell,
)
from gateway_metrics_mcp.query.time.period import (
    Period,
    Span,
    read_date,
    read_date_maths,
    read_instant,
    read_period,
)
from gateway_metrics_mcp.query.time.zone import (
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST,
    Clock,
    explain_zone,
    format_minute,
    read_zone,
    resolve_local,
    shift_local,
    to_local,
)
from gateway_metrics_mcp.query.time.zone_rules import load_zone

STARTS: Final = (
    'Give ISO 8601 ("2026-07-01T00:00:00Z") or "now-7d", which last to now, or a period: today,'
    " yesterday, this week, last 7 days, last month, 2026-07-01 (that day), 2026-07, 2026-W30,"
    " 2026-Q3, 2026-07-01..2026-07-15, 2026-07-01.. (to now)"
)
"""The forms of `startTs`, for messages."""

ENDS: Final = (
    'Give ISO 8601 ("2026-07-01T00:00:00Z"), a date (which leaves that day out), '
    '"now" or "now-1d", or leave it out'
)
"""The forms of `endTs`, for messages."""

_LARGEST: Final = 10**20
_T = TypeVar("_T")
_Reader = Callable[[str, Clock], _T | None]


def tidy(value: object) -> str:
    """Text with single spaces, none at the ends; empty for other types."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _read(value: object, clock: Clock, reader: _Reader[_T], forms: str, notes: list[str]) -> _T:
    """The time that a value names; a spelling other than the usual ones is noted.

    Raises:
        ValueError: with a message for the user, if it names none.
    """
    text = _text(value, forms)
    try:
        found = reader(text, clock)
        for same in () if found is not None else read_as(text, clock.wall.date()):
            if (found := reader(same, clock)) is not None:
                notes.append(f"{quote(text)} is read as {same}")
                break
    except OverflowError:
        raise ValueError(
            f"{quote(text)} is outside the years {FIRST_YEAR} to {LAST_YEAR}"
        ) from None
    if found is not None:
        return found
    if is_ahead(text):
        raise ValueError(f"{quote(text)} is in the future, where there is no data. {forms}")
    epoch = explain_epoch(text)
    if epoch is not None:
        raise ValueError(f"{quote(text)} is {epoch}. {forms}")
    meant = next((near for near in respell(text) if _reads(near, clock, reader)), None)
    hint = "" if meant is None else f'Did you mean "{meant}"? '
    fix = None if meant is None else Fix((meant,))
    raise MisspeltError(f"{quote(text)} is not a known time. {hint}{forms}", fix)


def _text(value: object, forms: str) -> str:
    # The bound excludes infinities, and integers too long for a message.
    if type(value) in (int, float) and -_LARGEST < cast("float", value) < _LARGEST:
        epoch = explain_epoch(str(int(cast("float", value))))
        raise ValueError(f"{quote(value)} is {epoch or 'a number, not text'}. {forms}")
    if not isinstance(value, str):
        wrong = "missing" if value is None else f"expected text, got {quote(value)}"
        raise ValueError(f"{wrong}. {forms}")  # noqa: TRY004 - wrong input, reported like the others
    text = tidy(value)
    if not text:
        raise ValueError(f"the text is empty. {forms}")
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters, the limit of a time is {LONGEST}. {forms}")
    return text


def _reads(text: str, clock: Clock, reader: _Reader[_T]) -> bool:
    """Whether a guess is valid; a start at or after now is not."""
    try:
        found = reader(text, clock)
    except (ValueError, OverflowError):
        return False
    return found is not None and not (isinstance(found, Span) and found.start >= clock.now)


def _start(text: str, clock: Clock) -> Span | None:
    """The period that `startTs` names; an instant starts a period up to now."""
    span = read_period(text, clock)
    if span is None:
        instant = _instant(text, clock, is_end=False)
        span = None if instant is None else Span(instant, clock.now)
    if span is not None:
        _check_year(span.start)
    return span


def _end(text: str, clock: Clock) -> datetime | None:
    """The instant, in UTC, that `endTs` names; a calendar period (`2026-07`) means its start."""
    # Before periods, because `now/d` as an end is the end of the day, as in Grafana.
    instant = _instant(text, clock, is_end=True)
    if instant is None:
        span = read_period(text, clock)
        if span is None:
            return None
        if not span.is_point:
            start, end = format_minute(span.start), format_minute(span.end)
            raise ValueError(
                f"{quote(text)} is a period, from {start} to {end}, and endTs is an "
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


_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A time range [start, end) in UTC, and how the answer describes it."""

    start: datetime
    end: datetime
    zone: ZoneInfo
    """The zone that dates and periods were read in."""
    notes: tuple[str, ...]
    """Notes for the answer: what was cut or excluded."""
    is_to_now: bool
    """Whether the window ends at now, so rows of its last minutes may still arrive."""
    period: Period | None
    """The calendar period it is; None for any other window."""


def read_window(
    start_ts: object,
    end_ts: object,
    timezone: object,
    *,
    now: datetime,
    default_zone: str = "UTC",
) -> Window:
    """The window of the time arguments; None stands for an argument that was not given.

    `now` is aware, and cut to whole seconds: repeated calls within a second are the same query.

    Raises:
        InvalidQueryError: with every problem, at `startTs`, `endTs` or `timezone`.
    """
    problems = Problems()
    zone = problems.attempt("timezone", read_zone, default_zone if timezone is None else timezone)
    utc = now.astimezone(UTC).replace(microsecond=0)
    clock = Clock(utc, zone or load_zone("UTC"))
    notes = [note for note in [zone and explain_zone(timezone, zone)] if note]
    span = problems.attempt("startTs", _read, start_ts, clock, _start, STARTS, notes)
    end = None
    if end_ts is not None:
        end = problems.attempt("endTs", _read, end_ts, clock, _end, ENDS, notes)
    if problems or span is None:
        raise InvalidQueryError(problems)
    _refuse_emptiness(span, end, (tidy(start_ts), tidy(end_ts)), clock)
    return _cut(span, end, clock, notes)


def _cut(span: Span, end: datetime | None, clock: Clock, notes: list[str]) -> Window:
    """The window of a period, or of its start and a given end, cut to now.

    With an end it has a period only if the two enclose exactly one.
    """
    now = clock.now
    note = span.running_note if span.end > now else span.note
    if end is not None:
        cut = f"endTs {format_minute(end)} is in the future: cut to now, {format_minute(now)}"
        note = cut if end > now else ""
    last = span.end if end is None else end
    period = None
    if span.unit is not None and min(last, now) == min(span.end, now):
        period = Period(span.unit, span.count, span.end > now)
    return Window(
        start=span.start,
        end=min(last, now),
        zone=clock.zone,
        notes=(*notes, note) if note else tuple(notes),
        is_to_now=last >= now,
        period=period,
    )


def _refuse_emptiness(
    span: Span, end: datetime | None, texts: tuple[str, str], clock: Clock
) -> None:
    """Refuse an empty window (R18).

    Raises:
        InvalidQueryError: with the reason and a correction.
    """
    start_text, end_text = texts
    start, now = format_minute(span.start), format_minute(clock.now)
    if span.start >= clock.now:
        when = (
            f"in the future: now is {now}"
            if span.start > clock.now
            else "now: the window would be empty"
        )
        place, wrong = "startTs", f"{quote(start_text)}, {start}, is {when}. {STARTS}"
    elif end is None and span.end <= span.start:
        skipped = f"is empty: the clocks of {clock.zone.key} skipped it"
        place, wrong = "startTs", f"{quote(start_text)} {skipped}"
    elif end is not None and end <= span.start:
        after = f"{quote(end_text)}, {format_minute(end)}, is not after startTs, {start}"
        place, wrong = "endTs", f"{after}. {_correct(span, end, texts, clock)}"
    else:
        return
    raise InvalidQueryError([Problem(place, wrong)])


def _correct(span: Span, end: datetime, texts: tuple[str, str], clock: Clock) -> str:
    """A correction for a window that ends before it starts."""
    start_text, end_text = texts
    day = read_date(end_text)
    if day is not None and span.start < resolve_local(
        shift_local(end.astimezone(clock.zone), "day", 1)
    ):
        return f'A date as endTs leaves that day out. Did you mean "{day + _DAY}"?'
    if span.unit is not None and end == span.start:
        return f"Leave endTs out: {quote(start_text)} alone is the whole period"
    is_instant = span.unit is None or read_date(start_text) is not None
    if end < span.start and is_instant:
        return f"Did you swap them? startTs {quote(end_text)}, endTs {quote(start_text)}"
    return "Give a later one or leave it out"


def format_window(window: Window) -> str:
    """`2026-11-13T00:00Z to 2026-11-20T00:00Z (7 days)`, for the header of an answer."""
    about = [format_length(window.start, window.end, window.zone)]
    if window.zone.key != "UTC":
        about.append(window.zone.key)
    start, end = format_minute(window.start), format_minute(window.end)
    return f"{start} to {end} ({', '.join(about)})"


def format_length(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """`7 days`, `6 h 30 min`, `about 19 days 14 h`; days are local days."""
    days, rest = _whole_days(start, end, zone)
    if rest and days < 2:
        # In hours, because across a clock change 24 hours are not a local day.
        days, rest = 0, end - start
    seconds = int(rest.total_seconds())
    amounts = (days, seconds // 3600, seconds // 60 % 60, seconds % 60)
    largest = next((index for index, amount in enumerate(amounts) if amount), None)
    if largest is None:
        return "under 1 s"
    units = ("day" if days == 1 else "days", "h", "min", "s")
    shown = list(zip(amounts, units, strict=True))[largest : largest + 2]
    text = " ".join(f"{amount} {unit}" for amount, unit in shown if amount)
    is_exact = not any(amounts[largest + 2 :]) and not rest.microseconds
    return text if is_exact else f"about {text}"


def _whole_days(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[int, timedelta]:
    """The local days from start to end, and the time that remains."""
    first = to_local(start, zone)
    days = (end.astimezone(zone).date() - first.date()).days
    while days > 0:
        reached = resolve_local(shift_local(first, "day", days))
        if reached <= end:
            return days, end - reached
        days -= 1
    return 0, end - start
