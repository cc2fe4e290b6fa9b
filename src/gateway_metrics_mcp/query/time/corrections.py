"""Guesses what an unreadable time was meant to be.

Nothing here is applied: window.py suggests the first guess that can be read.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

from gateway_metrics_mcp.query.suggestions import closest_matches
from gateway_metrics_mcp.query.time.period import NUMBER_WORDS, UNIT_LETTERS
from gateway_metrics_mcp.query.time.zone import CALENDAR_UNITS, CLOCK_UNITS, format_minute

_UNITS: Final = (*CLOCK_UNITS, *CALENDAR_UNITS)
_WORDS: Final = (
    *("last", "past", "previous", "this", "today", "yesterday", "tomorrow", "next", "now", "ago"),
    *(f"{unit}{ending}" for unit in _UNITS for ending in ("", "s")),
    *NUMBER_WORDS,
)
_SHORT: Final = {
    "current": "this",
    "d": "days",
    "h": "hours",
    "hr": "hour",
    "hrs": "hours",
    "min": "minute",
    "mins": "minutes",
    "mo": "months",
    "preceding": "previous",
    "prior": "previous",
    "rolling": "last",
    "sec": "second",
    "secs": "seconds",
    "trailing": "last",
    "w": "weeks",
    "wk": "week",
    "wks": "weeks",
    "y": "years",
    "yr": "year",
    "yrs": "years",
}
_SAID: Final = {
    "mtd": "this month",
    "qtd": "this quarter",
    "right now": "now",
    "wtd": "this week",
    "ytd": "this year",
    **{
        f"{unit}{before}to{after}date": f"this {unit}"
        for unit in CALENDAR_UNITS
        for before in " -"
        for after in " -"
    },
}
_FILLERS: Final = frozenset(
    ("calendar", "complete", "during", "far", "for", "full", "in", "of", "over", "so", "the")
)
_MONTH_NAMES: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)

_LENGTH: Final = r"(now)? ?([+-])? ?([0-9]{1,9}) ?([A-Za-z]+)( ago)?"
_DATE: Final = (
    r"([0-9]{4})(?:([-/. ])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{2})([0-9]{2}))(?:[t ,_-]+(.*)|t(.*))?"
)
_MONTH: Final = r"([0-9]{4})[-/. ]?([0-9]{1,2})"
_MONTHS: Final = r"([0-9]{4})-([0-9]{2}) ?(?:\.\.+|to|/) ?([0-9]{4})-([0-9]{2})"
_WEEK: Final = r"([0-9]{4})[- ]?w(?:eek)? ?([0-9]{1,2})(?:-?([1-7]))?"
_QUARTER: Final = r"(?:q([1-4])[-/ ]?([0-9]{4})|([0-9]{4})[-/ ]?q([1-4]))"
_DATES: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"

# The number of digits tells an epoch number's unit, for the years 1973 to 5138.
_EPOCH: Final = r"([0-9]{9,20})(?:\.[0-9]*)?"
_EPOCH_UNITS: Final = (
    (11, 1, "seconds"),
    (14, 10**3, "milliseconds"),
    (17, 10**6, "microseconds"),
    (20, 10**9, "nanoseconds"),
)


def is_ahead(text: str) -> bool:
    """Whether the words mean the future: `tomorrow`, `next week`, also misspelt."""
    first = text.lower().partition(" ")[0]
    return first == "next" or _correct_word(first) == "tomorrow"


def explain_epoch(text: str) -> str | None:
    """`an epoch number, in seconds "2026-07-01T00:00Z"`; None if it is not one."""
    match = re.fullmatch(_EPOCH, text)
    if match is None:
        return None
    _, parts, name = next(unit for unit in _EPOCH_UNITS if len(match[1]) <= unit[0])
    try:
        instant = datetime.fromtimestamp(int(match[1]) // parts, UTC)
    except (ValueError, OverflowError, OSError):
        return "an epoch number"
    return f'an epoch number, in {name} "{format_minute(instant)}"'


def respell(text: str) -> Iterator[str]:
    """Possible meanings, the likeliest first; some cannot be read either."""
    words = text.lower()
    if words in _SAID:
        yield _SAID[words]
    yield from _lengths(text)
    yield from _dates(words)
    yield from _by_month_name(words)
    corrected = _correct(words)
    yield " ".join(corrected)
    yield " ".join(word for word in corrected if word not in _FILLERS)


def _lengths(text: str) -> Iterator[str]:
    """`now-7d` for `7d`, `7 days ago` and `now - 7 days`; `last 7 days` for `7 days`."""
    match = re.fullmatch(_LENGTH, text)
    if match is None:
        return
    now, sign, count, unit, ago = match.groups()
    if unit in UNIT_LETTERS or unit.lower() in UNIT_LETTERS:
        yield f"now{sign if now and sign else '-'}{count}{unit}"
        return
    word = _correct(unit)[0].removesuffix("s")
    letter = next((letter for letter, name in UNIT_LETTERS.items() if name == word), None)
    if letter is not None and (now or sign or ago):
        yield f"now{sign if now and sign else '-'}{count}{letter}"
    elif letter is not None:
        yield f"last {count} {word}{'' if int(count) == 1 else 's'}"


def _dates(words: str) -> Iterator[str]:
    """Dates, months, weeks and quarters with other separators or missing zeros."""
    if (match := re.fullmatch(_DATE, words)) is not None:
        year, month, day = match[1], match[3] or match[5], match[4] or match[6]
        time = match[7] or match[8]
        yield f"{year}-{int(month):02}-{int(day):02}" + (f"T{time.upper()}" if time else "")
    if (match := re.fullmatch(_MONTH, words)) is not None:
        yield f"{match[1]}-{int(match[2]):02}"
    if (match := re.fullmatch(_WEEK, words)) is not None:
        yield _week(int(match[1]), int(match[2]), match[3])
    if (match := re.fullmatch(_QUARTER, words)) is not None:
        yield f"{match[2] or match[3]}-Q{match[1] or match[4]}"
    match = re.fullmatch(_MONTHS, words)
    if match is not None and 1 <= int(match[4]) <= len(_MONTH_NAMES):
        last = monthrange(int(match[3]), int(match[4]))[1]
        yield f"{match[1]}-{match[2]}-01..{match[3]}-{match[4]}-{last}"
    dates = re.findall(_DATES, words)
    if len(dates) > 1:
        yield f"{dates[0]}..{dates[-1]}"


def _week(year: int, week: int, weekday: str | None) -> str:
    if weekday is not None:
        try:
            return date.fromisocalendar(year, week, int(weekday)).isoformat()
        except ValueError:
            pass
    return f"{year:04}-W{week:02}"


def _by_month_name(words: str) -> Iterator[str]:
    """`july 2026`, `july 1st, 2026`, `1 jul 2026`."""
    parts = re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[0-9])(?:st|nd|rd|th)\b", "", words))
    years = [part for part in parts if len(part) == 4 and part.isdigit()]
    days = [part for part in parts if len(part) <= 2 and part.isdigit()]
    months = [
        number
        for number, name in enumerate(_MONTH_NAMES, 1)
        for part in parts
        if len(part) >= 3 and name.startswith(part)
    ]
    if len(years) != 1 or len(months) != 1 or len(parts) > 3:
        return
    month = f"{years[0]}-{months[0]:02}"
    yield f"{month}-{int(days[0]):02}" if days else month


def _correct(text: str) -> list[str]:
    """The words of the text, each replaced by the most similar word of a period."""
    words = [_correct_word(word) for word in re.findall(r"[a-z]+|[0-9]+", text.lower())]
    return [_agree(word, before) for before, word in pairwise(["", *words])]


def _agree(word: str, before: str) -> str:
    """A unit in the plural after a number: `7 day` -> `days`."""
    unit = word.removesuffix("s")
    is_counted = unit in _UNITS and before.isdigit()
    return f"{unit}{'' if int(before) == 1 else 's'}" if is_counted else word


def _correct_word(word: str) -> str:
    if word in _SHORT:
        return _SHORT[word]
    if word.isdigit() or word in _FILLERS or word in _WORDS:
        return word
    return next(iter(closest_matches(word, _WORDS)), word)
