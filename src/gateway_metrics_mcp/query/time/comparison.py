"""Reads `compareTo`: the earlier window that a window is compared with."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from gateway_metrics_mcp.errors import Fix, InvalidQueryError, MisspeltError, quote
from gateway_metrics_mcp.query.suggestions import closest_matches
from gateway_metrics_mcp.query.time.period import (
    NUMBER_WORDS,
    Period,
    read_count,
    read_date_maths,
    read_instant,
    read_period,
)
from gateway_metrics_mcp.query.time.window import STARTS, Window, format_length, read_window, tidy
from gateway_metrics_mcp.query.time.zone import (
    CALENDAR_UNITS,
    CLOCK_LENGTHS,
    CLOCK_UNITS,
    FIRST_YEAR,
    LONGEST,
    CalendarUnit,
    Clock,
    floor_local,
    format_minute,
    resolve_local,
    shift_instant,
    shift_local,
    to_local,
)

PREVIOUS: Final = "previous"
EARLIER: Final = (
    "Give previous, 1 day, 1 week, 1 month, 1 year, or a period: yesterday, last week, "
    "last month, 2026-06, 2026-W30, 2026-Q3, 2026-06-01..2026-06-07"
)
"""The forms of `compareTo`, for messages."""

_UNITS: Final = "|".join((*CLOCK_UNITS, *CALENDAR_UNITS))
_SHIFT: Final = rf"([0-9]{{1,9}}|{'|'.join(NUMBER_WORDS)}) ({_UNITS})s?"
_LOOSE_SHIFT: Final = (
    rf"(?:an? |[-+] ?)?([0-9]{{0,9}}|{'|'.join(NUMBER_WORDS)}) ?([a-z]+?)s?"
    r"(?: (?:ago|earlier|before|back|prior))?"
)
_UNIT_WORDS: Final = {
    **{word: unit for unit in (*CLOCK_UNITS, *CALENDAR_UNITS) for word in (unit, unit[0])},
    "hr": "hour",
    "min": "minute",
    "mo": "month",
    "mon": "month",
    "m": "month",
    "qtr": "quarter",
    "wk": "week",
    "yr": "year",
}
_SAME: Final = rf"same [a-z]+ (?:of |in )?(?:the )?(?:last|previous) ({_UNITS})"
_SAID: Final = {
    "before": PREVIOUS,
    "last": PREVIOUS,
    **{f"{before} period": PREVIOUS for before in ("previous", "prior", "preceding", "last")},
    "period over period": PREVIOUS,
    "pop": PREVIOUS,
    "preceding": PREVIOUS,
    "prev": PREVIOUS,
    "prior": PREVIOUS,
    "true": PREVIOUS,
    "yes": PREVIOUS,
    "dod": "1 day",
    "d/d": "1 day",
    "day over day": "1 day",
    "wow": "1 week",
    "w/w": "1 week",
    "week over week": "1 week",
    "mom": "1 month",
    "m/m": "1 month",
    "month over month": "1 month",
    "yoy": "1 year",
    "y/y": "1 year",
    "year over year": "1 year",
}


def read_earlier(text: object, window: Window, *, now: datetime) -> Window:
    """The earlier window that a text names, in the window's zone.

    `previous` is the preceding window or period of the same kind, `1 month` the window shifted
    back by one, and a date or instant the start of a window of the same length.

    Raises:
        ValueError: with a message for the user, if the text is invalid or not earlier.
    """
    if not isinstance(text, str):
        raise ValueError(  # noqa: TRY004 - wrong input, reported like the others
            f"expected text, got {quote(text)}. {EARLIER}"
        )
    given = tidy(text)
    if not given or len(given) > LONGEST:
        wrong = f"longer than {LONGEST} characters" if given else "the text is empty"
        raise ValueError(f"{wrong}. {EARLIER}")
    clock = Clock(now.astimezone(UTC).replace(microsecond=0), window.zone)
    try:
        earlier = _read(given, window, clock)
    except OverflowError:
        raise ValueError(f"{quote(given)} goes back before {FIRST_YEAR}") from None
    if earlier.start.year < FIRST_YEAR:
        raise ValueError(f"{quote(given)} goes back before {FIRST_YEAR}")
    if earlier.start >= window.start:
        raise ValueError(
            f"{quote(given)} is from {format_minute(earlier.start)}, which is not earlier than the"
            f' window itself, from {format_minute(window.start)}. Did you mean "{PREVIOUS}"?'
            f" {EARLIER}"
        )
    return earlier


def explain_earlier(window: Window, earlier: Window) -> tuple[str, ...]:
    """Notes on how the two windows differ or overlap; days are local days."""
    notes = []
    lengths = [format_length(one.start, one.end, one.zone) for one in (window, earlier)]
    # Across a clock change equal local days differ by an hour; they still count as equal.
    is_equal = window.end - window.start == earlier.end - earlier.start or _wall_length(
        window
    ) == _wall_length(earlier)
    if not is_equal and lengths[0] != lengths[1]:
        notes.append(f"the windows differ in length: {lengths[0]} against {lengths[1]}")
    elif window.end - window.start != earlier.end - earlier.start and is_equal:
        hours = [(one.end - one.start).total_seconds() / 3600 for one in (window, earlier)]
        notes.append(f"the clocks changed: {hours[0]:g} h against {hours[1]:g} h")
    if earlier.end > window.start:
        shared = format_length(window.start, min(window.end, earlier.end), window.zone)
        notes.append(f"the windows overlap by {shared}: shared rows hide change")
    return tuple(notes)


def _read(text: str, window: Window, clock: Clock) -> Window:
    words = text.lower().removeprefix("the ")
    words = _SAID.get(words, words)
    if words == PREVIOUS:
        return _find_previous(window)
    shift = re.fullmatch(_SHIFT, words) or re.fullmatch(_SHIFT, _respell(text) or "")
    if shift is not None:
        count = read_count(shift[1])
        if count == 0:
            raise ValueError(f"{quote(text)} is not a time. {EARLIER}")
        return _shift(window, count, shift[2])
    if read_period(text, clock) is None:
        instant = read_date_maths(text, clock, is_end=False) or read_instant(text, clock.zone)
        if instant is not None:
            return _make(window, instant, min(_end_as_long(instant, window), clock.now))
    try:
        return read_window(text, None, clock.zone.key, now=clock.now)
    except InvalidQueryError as error:
        message = error.problems[0].message.replace(STARTS, EARLIER)
        fix = error.problems[0].fix
        if closest_matches(words, (PREVIOUS,)):
            message = f'{quote(text)} is not an earlier time. Did you mean "{PREVIOUS}"? {EARLIER}'
            fix = Fix((PREVIOUS,))
        raise MisspeltError(message, fix) from None


def _respell(text: str) -> str | None:
    """`1 week` for `1w`, `a week ago` and `same day last week`; None for another form.

    Raises:
        ValueError: with both meanings, for `5m`.
    """
    words = text.lower().removeprefix("the ")
    same = re.fullmatch(_SAME, words)
    match = re.fullmatch(_LOOSE_SHIFT, words)
    if same is not None or match is None:
        return None if same is None else f"1 {same[1]}"
    count = read_count(match[1]) if match[1] else 1
    ending = "s" if count > 1 else ""
    if match[2] == "m" and "M" not in text:
        raise ValueError(
            f"{quote(text)} can mean two things. Did you mean"
            f' "{count} month{ending}" or "{count} minute{ending}"?'
        )
    unit = _UNIT_WORDS.get(match[2])
    return None if unit is None else f"{count} {unit}"


def _find_previous(window: Window) -> Window:
    """The preceding period, or the preceding window of the same length."""
    period, zone = window.period, window.zone
    if period is None:
        days = _whole_days(window)
        if days is None:
            return _make(window, window.start - (window.end - window.start), window.start)
        return _make(window, shift_instant(window.start, "day", -days, zone), window.start)
    start, count = window.start, 0
    while start >= window.start:  # skip a period that the zone's clocks left out completely
        count += period.count
        start = shift_instant(window.start, period.unit, -count, zone)
    if not period.is_running:
        return _make(window, start, window.start, period)
    return _make(window, start, _elapsed_end(window, start, window.start), period)


def _elapsed_end(window: Window, start: datetime, latest: datetime) -> datetime:
    """Where an earlier period had run for as long, by local time, as the running one has."""
    elapsed = to_local(window.end, window.zone) - to_local(window.start, window.zone)
    end = min(resolve_local(to_local(start, window.zone) + elapsed), latest)
    if end <= start:  # the clocks skipped all of it
        end = min(start + (window.end - window.start), latest)
    return end


def cut_to_elapsed(window: Window, earlier: Window) -> Window:
    """Cut the earlier period to what the running one of its kind has had so far.

    A month that has run for ten days would otherwise look like a drop. Other windows are
    returned unchanged.
    """
    ours, theirs = window.period, earlier.period
    if ours is None or theirs is None or not ours.is_running:
        return earlier
    if (ours.unit, ours.count) != (theirs.unit, theirs.count):
        return earlier
    end = _elapsed_end(window, earlier.start, earlier.end)
    if end == earlier.end:
        return earlier
    note = f"the {ours.unit} is in progress: compared with as much of the earlier {theirs.unit}"
    return replace(earlier, end=end, period=None, notes=(*earlier.notes, note))


def _shift(window: Window, count: int, unit: str) -> Window:
    if unit in CLOCK_UNITS:
        length = CLOCK_LENGTHS[unit] * count
        return _make(window, window.start - length, window.end - length)
    calendar_unit = cast("CalendarUnit", unit)
    start = shift_instant(window.start, calendar_unit, -count, window.zone)
    wall = to_local(window.end, window.zone)
    moved = shift_local(wall, calendar_unit, -count)
    if unit not in ("day", "week") and moved.day != wall.day and wall == floor_local(wall, "day"):
        # The exclusive end of a day that the month lacks is the end of the month's last day.
        moved = shift_local(moved, "day", 1)
    end = resolve_local(moved)
    return _make(window, start, end if end > start else _end_as_long(start, window), window.period)


def _make(window: Window, start: datetime, end: datetime, like: Period | None = None) -> Window:
    """An earlier window, with its period if that is of the same kind as `like`."""
    period = None
    if (
        like is not None
        and resolve_local(floor_local(to_local(start, window.zone), like.unit)) == start
        and shift_instant(start, like.unit, like.count, window.zone) == end
    ):
        period = Period(like.unit, like.count, is_running=False)
    return Window(
        start=start,
        end=end,
        zone=window.zone,
        notes=(),
        is_to_now=False,
        period=period,
    )


def _end_as_long(start: datetime, window: Window) -> datetime:
    """The end of a window of the same length: in local days if it is whole days."""
    days = _whole_days(window)
    if days is None:
        return start + (window.end - window.start)
    return shift_instant(start, "day", days, window.zone)


def _whole_days(window: Window) -> int | None:
    """The number of local days; None if it does not run from midnight to midnight."""
    walls = to_local(window.start, window.zone), to_local(window.end, window.zone)
    if any(wall != floor_local(wall, "day") for wall in walls):
        return None
    return (walls[1].date() - walls[0].date()).days


def _wall_length(window: Window) -> timedelta:
    return to_local(window.end, window.zone) - to_local(window.start, window.zone)
