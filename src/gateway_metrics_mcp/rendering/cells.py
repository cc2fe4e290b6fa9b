"""Formats one value of an answer: rounding, units, and quoting of text from the data.

Text from the data (model names, metadata) is untrusted: it is quoted and made visible, never
dropped.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from gateway_metrics_mcp.query import Filter, Key, Number, Result, Scalar, break_markup
from gateway_metrics_mcp.reports.report import Report

NULL: Final = "null"
NOT_APPLICABLE: Final = "n/a"
LONGEST_NAME: Final = 80

# Names are cut to this where the budget does not fit even one row with `LONGEST_NAME`.
SHORT_NAME: Final = 8

# Units shown in percent: the factor that makes a percentage of the value, and the sign.
_PARTS: Final = {"ratio": (100, "%"), "pp": (100, "pp"), "%": (1, "%")}

# Of all filters together: the caller knows what was sent, and rows need the space.
_MOST_LETTERS: Final = 600

# Names equal to one of these are quoted: bare, they would read as our own labels.
_OUR_WORDS: Final = frozenset(("null", "true", "false", "all", "other", "n/a", "nan", "time"))
_BARE: Final = re.compile(r"[^\W_][\w./:@+-]*(?: [\w./:@+-]+){0,2}")
_INVISIBLE: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
# Characters that render as nothing although their Unicode category is visible: fillers, the
# blank braille cell, joiners and variation selectors.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def format_number(value: Number | None, unit: str | None = None, *, exact: bool = False) -> str:
    """Integers with all digits, floats with four significant digits, large money in cents.

    `exact` keeps the source's digits. None is `null`, NaN and infinity are `n/a`. A nonzero value
    never prints as 0.
    """
    if value is None:
        return NULL
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return NOT_APPLICABLE
    if exact:
        return json.dumps(value)
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-12:
        return f"{value:.3e}"
    # Below 10 USD two decimals would be off by more than 1 % for many small costs, or read 0.00.
    if unit == "USD" and size >= 10:
        return f"{value:.2f}"
    if size >= 1000:
        return f"{value:.0f}"
    decimals = 3 - math.floor(math.log10(size))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_value(
    value: Number | None, unit: str | None, *, exact: bool = False, signed: bool = False
) -> str:
    """A number formatted by its unit: ratios in percent, `signed` values with a plus sign."""
    if value is None or not math.isfinite(value):
        return format_number(value)
    if unit in _PARTS:
        factor, sign = _PARTS[unit]
        text = _format_percent(value * factor, exact=exact) + sign
    else:
        text = format_number(value, unit, exact=exact)
    return f"+{text}" if signed and value > 0 else text


def format_cell(report: Report, value: Number | None, value_name: str) -> str:
    """A value as the answer shows it: rounded by its unit, or exact if the request says so."""
    return cell_formatter(report, value_name)(value)


def cell_formatter(report: Report, value_name: str) -> Callable[[Number | None], str]:
    """A function that formats the values of one column."""
    is_exact = report.request.format in ("exact", "json")
    known = report.value(value_name)
    unit, is_signed = known.unit, known.is_signed
    if unit not in _PARTS and not is_signed:  # nearly every column
        return partial(format_number, unit=unit, exact=is_exact)

    def form(value: Number | None) -> str:
        return format_value(value, unit, exact=is_exact, signed=is_signed)

    return form


def _format_percent(value: Number, *, exact: bool) -> str:
    """One decimal; below 1 % two significant digits, so that a nonzero share never shows as 0."""
    if exact:
        return json.dumps(value)
    if value == 0:
        return "0"
    # Smaller percentages do not round to 1.0, so they get two significant digits.
    if abs(value) >= 0.995:
        return f"{value:.1f}"
    decimals = 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{decimals}f}" if decimals < 12 else f"{value:.1e}"


def format_key(key: Key, longest: int = LONGEST_NAME) -> str:
    """A group key: bare if unambiguous, else quoted. A missing key is a bare `null`."""
    if key is None:
        return NULL
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return format_number(key, exact=True)
    return quote_text(key, longest)


def quote_text(text: str, longest: int = LONGEST_NAME) -> str:
    r"""Quote text from the data; a quoted cell parses back to the original unless it was cut.

    One to three words of letters, digits and `_ . / : @ + -` stay bare. Other text is quoted as in
    JSON, with `|` as `\|`, and escapes for invisible characters, in Markdown's images and links,
    and in HTML's tags. Text beyond `longest` characters is cut, and `…(+n)` counts the characters
    left out.
    """
    shown, rest = text[:longest], len(text) - longest
    if rest <= 0 and _is_plain(text):
        return text
    dumped = json.dumps(shown, ensure_ascii=False)
    quoted = break_markup("".join(map(_escape, dumped)))
    return f"{quoted}…(+{rest})" if rest > 0 else quoted


def describe_age(result: Result) -> list[str]:
    """A note with the age of a cached answer; empty for a fresh one."""
    age_s = result.age_s
    if age_s is None:
        return []
    if age_s < 1:
        age = "under 1 s"
    elif age_s < 120:
        age = f"{age_s:.0f} s"
    elif age_s < 7200:
        age = f"{age_s / 60:.0f} min"
    else:
        age = f"{age_s / 3600:.0f} h"
    return [f"from the cache, {age} old"]


def add_unit(name: str, unit: str | None) -> str:
    """A column's heading: its name, with the unit unless the name includes it."""
    heading = quote_column(name)
    if unit is None or unit in _PARTS:  # their cells carry the % or pp
        return heading
    is_in_name = re.sub("(?<=..)s$", "", unit).lower() in name.lower()
    return heading if is_in_name else f"{heading} ({unit})"


def quote_column(name: str) -> str:
    """A column's name, quoted if needed; the `%` that ends a change's name is ours."""
    return f"{quote_text(name[:-1])}%" if name.endswith("%") else quote_text(name)


def keep_on_line(text: str) -> str:
    """The text on one line, with invisible characters and markup escaped; `|` is unchanged."""
    text = break_markup(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter == "|" else _escape(letter) for letter in text)


def _is_plain(text: str) -> bool:
    """Whether the text reads as a name and cannot pass for one of our words."""
    if _BARE.fullmatch(text) is None or text.casefold() in _OUR_WORDS:
        return False
    if ": " in text or text.endswith(":"):  # would read as one of our `name: value` lines
        return False
    if text.isascii():
        return True
    # `\w` also matches digits of other scripts; only their letters stay bare.
    is_seen = all(letter.isascii() or letter.isalpha() for letter in text)
    return is_seen and _BLANK.search(text) is None


def _escape(letter: str) -> str:
    """One character of a JSON string, escaped if it would break a row or is invisible."""
    if letter == "|":
        return "\\|"
    if " " <= letter <= "~":
        return letter
    if unicodedata.category(letter) not in _INVISIBLE and _BLANK.match(letter) is None:
        return letter
    # JSON's `\u` escapes are UTF-16 code units, so a character beyond the BMP takes two.
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def describe_filters(filters: Sequence[Filter]) -> list[str]:
    """Each filter as sent, such as `modelName IN ["a", "b"]`; long lists are cut and counted."""
    texts = [_describe(f, 10) for f in filters]
    if sum(map(len, texts)) > _MOST_LETTERS:
        texts = [_describe(f, 2) for f in filters]
    fitting = sum(size <= _MOST_LETTERS for size in accumulate(map(len, texts)))
    shown = texts[: max(fitting, 1)]
    rest = len(texts) - len(shown)
    return [*shown, f"…(+{rest} filters)"] if rest else shown


def _describe(filter_: Filter, most: int) -> str:
    start = f"{quote_text(filter_.field_name)} {filter_.operator} "
    if not isinstance(filter_.value, tuple):
        return start + _describe_scalar(filter_.value)
    shown = [_describe_scalar(item) for item in filter_.value[:most]]
    rest = len(filter_.value) - len(shown)
    return f"{start}[{', '.join(shown)}{f', …(+{rest})' if rest else ''}]"


def _describe_scalar(value: Scalar) -> str:
    return quote_always(value) if isinstance(value, str) else json.dumps(value)


def quote_always(text: str) -> str:
    """The text in quotes, even if it could stay bare."""
    quoted = quote_text(text)
    return quoted if quoted.startswith('"') else f'"{quoted}"'


def list_some(texts: Sequence[str], most: int) -> str:
    """`a, b, c and 2 more`."""
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def count_rows(count: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} row{'' if count == 1 else 's'}"
