"""Other spellings of times: those with one meaning, which are read, and guesses at typing errors.

window.py reads what `read_as` yields, and only suggests what `respell` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

from gateway_metrics_mcp.errors import quote
from gateway_metrics_mcp.query.suggestions import closest_matches
from gateway_metrics_mcp.query.time.period import NUMBER_WORDS, UNIT_LETTERS
from gateway_metrics_mcp.query.time.zone import CALENDAR_UNITS, CLOCK_UNITS, format_minute

_UNITS: Final = (*CLOCK_UNITS, *CALENDAR_UNITS)
_WORDS: Final = (
    *("last", "past", "previous", "this", "today", "yesterday", "tomorrow", "next", "now", "ago"),
    *(f"{unit}{ending}" for unit in _UNITS for ending in ("", "s")),
    *NUMBER_WORDS,
)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS: Final = (
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
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
    "prev": "previous",
    "prior": "previous",
    "sec": "second",
    "secs": "seconds",
    "w": "weeks",
    "wk": "week",
    "wks": "weeks",
    "y": "years",
    "yr": "year",
    "yrs": "years",
}
# Words of other times: none is a typing error for a word above that it resembles.
_OTHER: Final = frozenset(
    (
        *("weekend", "weekends", "weekday", "weekdays", "fortnight", "decade", "century", "season"),
        *("morning", "noon", "afternoon", "evening", "night", "tonight", "midnight", "half"),
        *("business", "working", "first", "end", "start", "beginning", "before", "after", "until"),
        *("except", "without", "excluding", "including", "include", "fiscal"),
        *("rolling", "trailing"),
        *_MONTHS,
        *_WEEKDAYS,
    )
)
_SAID: Final = {
    "dtd": "today",
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
    ("calendar", "complete", "during", "far", "for", "full", "in", "of", "on", "over", "so", "the")
)

_LENGTH: Final = r"(now|rolling|trailing)? ?([+-])? ?([0-9]{1,9}) ?([A-Za-z]+)( ago)?"
_ISO_LENGTH: Final = r"P([0-9]{1,9})([DWMY])|PT([0-9]{1,9})([HMS])"
_DATE: Final = (
    r"([0-9]{4})(?:([-/. ])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{2})([0-9]{2}))(?:[t ,_-]+(.*)|t(.*))?"
)
_DAY_FIRST: Final = r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})"
_MONTH: Final = r"([0-9]{4})[-/. ]?([0-9]{1,2})|([0-9]{1,2})[-/.]([0-9]{4})"
_WEEK: Final = r"(?:([0-9]{4})[- ]?)?w(?:eek)? ?([0-9]{1,2})(?:-?([1-7]))?"
_PART: Final = r"(?:([qh])([1-4])(?:[-/ ]?([0-9]{4}))?|([0-9]{4})[-/ ]?([qh])([1-4]))"
_WEEKDAY: Final = r"(?:(this|last|past|previous) )?([a-z]{3,9})"
_DATE_LIKE: Final = "[0-9]{4}-[0-9]{2}[^/]*"
_SIDES: Final = (
    r"(?:from |between )?(?P<first>.+?)"
    r"(?: ?(?:\.\.+|\u2026) ?| (?:to|through|thru|until|till|-|\u2013) | ?\u2013 ?)"
    r"(?P<last>.*)"
)
_INTERVAL: Final = rf"(?P<first>{_DATE_LIKE})/(?P<last>{_DATE_LIKE})"
_DAYS: Final = r"([0-9]{1,2}) ?(?:-|\u2013|to|through) ?([0-9]{1,2})"
_DAYS_OF_MONTH: Final = (
    rf"{_DAYS} ([a-z]{{3,9}})( [0-9]{{4}})?|([a-z]{{3,9}}) {_DAYS}( [0-9]{{4}})?"
)
_SINCE: Final = r"(?:since|from|starting) (.+)|(.+?) (?:onwards?|to now|until now|till now)"
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


def read_as(text: str, today: date) -> Iterator[str]:
    """Readable spellings of the only thing that the text can mean.

    Raises:
        ValueError: with each meaning, if it has several.
    """
    yield from _read_one(text, today)
    yield from _ranges(text, today)


def _read_one(text: str, today: date) -> Iterator[str]:
    """As `read_as`, without ranges."""
    words = _fold(text)
    if words in _SAID:
        yield _SAID[words]
    yield from _lengths(re.sub(r"(?i)^an? (?=[a-z]+ ago$)", "1 ", text))
    yield from _dates(words, today)
    yield from _by_name(words, today)
    # A text with other signs is no list of words.
    if re.fullmatch(r"[a-z0-9 _-]+", words):
        parts = re.findall(r"[a-z]+|[0-9]+", words)
        yield " ".join(_agree([_SHORT.get(one, one) for one in parts if one not in _FILLERS]))


def _fold(text: str) -> str:
    """`last month` for `lastMonth`; ordinals without their ending."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    words = re.sub(r"(?<=[0-9])(?:st|nd|rd|th)\b|,", "", words)
    return re.sub(r"^(last|this|previous)(?=[a-z])", r"\1 ", words)


def respell(text: str) -> Iterator[str]:
    """Possible meanings, the likeliest first; some cannot be read either."""
    parts = re.findall(r"[a-z]+|[0-9]+", text.lower())
    words = _agree([_correct_word(word) for word in parts])
    yield " ".join(words)
    yield " ".join(word for word in words if word not in _FILLERS)


def _lengths(text: str) -> Iterator[str]:
    """`now-7d` for `7d`, `-7d`, `now - 7 days` and `P7D`; `now-24h` for `24 hours ago`."""
    iso = re.fullmatch(_ISO_LENGTH, text.upper())
    if iso is not None:
        letter = iso[2] if iso[2] == "M" else (iso[2] or iso[4]).lower()
        yield f"now-{iso[1] or iso[3]}{letter}"
    match = re.fullmatch(_LENGTH, text, re.IGNORECASE)
    if match is None:
        return
    before, sign, count, unit, ago = match.groups()
    word = _SHORT.get(unit.lower(), unit.lower()).removesuffix("s")
    letters = (letter for letter, name in UNIT_LETTERS.items() if name == word)
    letter = unit if unit in UNIT_LETTERS else next(letters, None)
    if letter is None or (before and not sign and before.lower() == "now"):
        return
    start = f"now{'+' if sign == '+' else '-'}{count}{letter}"
    if before or sign or unit.lower() in UNIT_LETTERS or word in CLOCK_UNITS:
        yield start
    elif ago:
        raise _TwoMeaningsError(text, (start, f"{start}/d..{start}/d"))
    else:
        raise _TwoMeaningsError(text, (" ".join(["last", *_agree([count, word])]), start))


def _dates(words: str, today: date) -> Iterator[str]:
    """Dates, months, weeks, quarters and half-years in other forms."""
    if (match := re.fullmatch(_DATE, words)) is not None:
        year, month, day = match[1], match[3] or match[5], match[4] or match[6]
        time = _time(match[7] or match[8] or "")
        yield f"{year}-{int(month):02}-{int(day):02}{time}"
    if (match := re.fullmatch(_DAY_FIRST, words)) is not None:
        yield _day_or_month_first(words, int(match[1]), int(match[3]), match[4])
    if (match := re.fullmatch(_MONTH, words)) is not None:
        yield f"{match[1] or match[4]}-{int(match[2] or match[3]):02}"
    if (match := re.fullmatch(_WEEK, words)) is not None:
        yield _week(match[1], int(match[2]), match[3], today)
    if (match := re.fullmatch(_PART, words)) is not None:
        kind, number = match[1] or match[5], int(match[2] or match[6])
        months = 3 if kind == "q" else 6
        year = match[3] or match[4] or _latest_year(today, (number - 1) * months + 1)
        if kind == "q":
            yield f"{year}-Q{number}"
        elif number <= 2:
            yield f"{year}-{number * 6 - 5:02}..{year}-{number * 6:02}"


def _time(text: str) -> str:
    """`T10:00` for `10`, `10:00` and `10 am`; another text as it is."""
    match = re.fullmatch(r"([0-9]{1,2})(?::([0-9]{2}))? ?([ap])\.?m\.?", text)
    if match is not None and 1 <= int(match[1]) <= 12:
        hour = int(match[1]) % 12 + 12 * (match[3] == "p")
        return f"T{hour:02}:{match[2] or '00'}"
    if re.fullmatch("[0-9]{1,2}", text):
        return f"T{int(text):02}:00"
    return f"T{text.upper()}" if text else ""


def _day_or_month_first(words: str, first: int, second: int, year: str) -> str:
    """The one date of `24.11.2026` and `11/24/2026`; of `01/11/2026` there are two."""
    found = dict.fromkeys(
        f"{year}-{month:02}-{day:02}"
        for day, month in ((first, second), (second, first))
        if 1 <= month <= len(_MONTHS)
    )
    if len(found) > 1:
        raise _TwoMeaningsError(words, found)
    return next(iter(found), "")


class _TwoMeaningsError(ValueError):
    """The text can mean two things; `meanings` spells both."""

    def __init__(self, text: str, meanings: Iterable[str]) -> None:
        self.meanings = tuple(meanings)
        either = " or ".join(f'"{meaning}"' for meaning in self.meanings)
        super().__init__(f"{quote(text)} can mean two things. Did you mean {either}?")


def _latest_year(today: date, month: int, day: int = 1) -> int:
    """The year of the latest such day that is not after today."""
    return today.year - ((month, day) > (today.month, today.day))


def _week(year: str | None, week: int, weekday: str | None, today: date) -> str:
    this = today.isocalendar()
    number = int(year) if year else this.year - (week > this.week)
    if weekday is not None:
        try:
            return date.fromisocalendar(number, week, int(weekday)).isoformat()
        except ValueError:
            pass
    return f"{number:04}-W{week:02}"


def _by_name(words: str, today: date) -> Iterator[str]:
    """`july 2026`, `1 jul 2026`, `jul 1`, `last friday`, `last weekend`.

    Without a year, the latest one that has begun.
    """
    if words.removeprefix("the ") == "day before yesterday":
        yield f"{today - timedelta(days=2)}"
    if words == "last weekend":
        sunday = today - timedelta(days=today.isoweekday())
        yield f"{sunday - timedelta(days=1)}..{sunday}"
    match = re.fullmatch(_WEEKDAY, words.removeprefix("on "))
    if match is not None:
        yield from _by_weekday(words, match[1], match[2], today)
    parts = [part for part in re.findall(r"[a-z]+|[0-9]+", words) if part not in _FILLERS]
    years = [part for part in parts if len(part) == 4 and part.isdigit()]
    days = [int(part) for part in parts if len(part) <= 2 and part.isdigit()]
    months = [number for part in parts if (number := _find_name(part, _MONTHS)) is not None]
    if (
        len(months) != 1
        or len(parts) != 1 + len(years) + len(days)
        or max(len(years), len(days)) > 1
    ):
        return
    year = years[0] if years else _latest_year(today, months[0] + 1, *days)
    month = f"{year}-{months[0] + 1:02}"
    yield f"{month}-{days[0]:02}" if days else month


def _by_weekday(words: str, which: str | None, name: str, today: date) -> Iterator[str]:
    """The latest such day before today; `this friday` is that of the week."""
    number = _find_name(name, _WEEKDAYS)
    if number is None or name == "mon":  # which may be a month
        return
    back = (today.weekday() - number) % 7
    before = today - timedelta(days=back or 7)
    if which == "this":
        yield f"{today + timedelta(days=number - today.weekday())}"
    elif which is None and not back:
        raise _TwoMeaningsError(words, ("today", f"{before}"))
    else:
        yield f"{before}"


def _find_name(word: str, names: Sequence[str]) -> int | None:
    """The place of a name that the word is or shortens, to three letters at least."""
    found = (place for place, name in enumerate(names) if name.startswith(word))
    return next(found, None) if len(word) >= 3 else None


def _ranges(text: str, today: date) -> Iterator[str]:
    """`2026-07-01..2026-07-15` for `1 to 15 July 2026` and the like; `2026-07-01..` for `since`."""
    if (match := re.fullmatch(_SINCE, text, re.IGNORECASE)) is not None:
        yield from _join(text, match[1] or match[2], "", today)
    days = re.fullmatch(_DAYS_OF_MONTH, _fold(text))
    if days is not None:
        month = f"{days[3] or days[5]}{days[4] or days[8] or ''}"
        yield from _join(
            text, f"{days[1] or days[6]} {month}", f"{days[2] or days[7]} {month}", today
        )
    match = re.fullmatch(_INTERVAL, text) or re.fullmatch(_SIDES, text, re.IGNORECASE)
    if match is None and text.lower().startswith("between "):
        match = re.fullmatch(r"between (?P<first>.+) and (?P<last>.+)", text, re.IGNORECASE)
    if match is None:
        return
    first, last = match["first"].strip(), match["last"].strip()
    # A side without a year would get the latest one, which need not be that of the other.
    has_year = {bool(re.search("[0-9]{4}", side)) for side in (first, last) if side}
    if len(has_year) > 1 and last.lower() not in ("now", "today", "yesterday"):
        return
    yield from _join(text, first, last, today)


def _join(text: str, first: str, last: str, today: date) -> Iterator[str]:
    """The ranges between the two sides, each as it is and as it is read."""
    starts, ends = [first], [last]
    try:
        starts += _read_one(first, today)
    except _TwoMeaningsError as two:
        raise _TwoMeaningsError(text, [f"{one}..{last}" for one in two.meanings]) from None
    try:
        ends += _read_one(last, today) if last else ()
    except _TwoMeaningsError as two:
        raise _TwoMeaningsError(text, [f"{first}..{one}" for one in two.meanings]) from None
    yield from (f"{start}..{end}" for start in starts for end in ends)


def _agree(words: Sequence[str]) -> list[str]:
    """Units in the plural after a number: `7 day` -> `days`."""
    agreed = []
    for before, word in pairwise(["", *words]):
        unit = word.removesuffix("s")
        is_counted = unit in _UNITS and before.isdigit()
        agreed.append(f"{unit}{'' if int(before) == 1 else 's'}" if is_counted else word)
    return agreed


def _correct_word(word: str) -> str:
    """The word of a period that is spelt most like it."""
    if word in _SHORT:
        return _SHORT[word]
    known = {word, word.removesuffix("s")}
    if word.isdigit() or known & _FILLERS or known & _OTHER or word in _WORDS:
        return word
    # Few typing errors are in the first letter, but `Fridays` resembles `days`.
    near = (one for one in closest_matches(word, _WORDS) if one[0] == word[0])
    return next(near, word)
