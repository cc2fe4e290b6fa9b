"""The first line of an answer: what it covers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.query.model import Filter, Scalar, format_instant
from gateway_metrics_mcp.query.time.window import format_window
from gateway_metrics_mcp.query.virtual_models import FIELD, VIRTUAL, VIRTUAL_ROWS
from gateway_metrics_mcp.rendering.cells import quote_text
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest

_MOST_VALUES: Final = 10
_FEW_VALUES: Final = 2
_MOST_LETTERS: Final = 600
"""The asker knows what was sent; the room is the rows'."""


def write_header(report: Report, *parts: str) -> str:
    """`# datasource by fields | window | filter: ... | scope | what is counted | parts`."""
    request = report.request
    query = request.query
    kind = " timeseries" if query.interval is not None else ""
    by = f" by {', '.join(map(quote_text, query.group_by))}" if query.group_by else ""
    filters = describe_filters(shown_filters(report))
    scope = request.scope
    earlier = request.earlier
    pieces = [
        f"{query.datasource}{kind}{by}",
        format_window(request.window),
        *([] if earlier is None else [f"compared with {format_window(earlier)}"]),
        *([f"filter: {' AND '.join(filters)}"] if filters else []),
        *([scope] if scope is not None else []),
        f"counts {name_rows(request)}{_sight(report)}",
        *parts,
    ]
    return "# " + " | ".join(pieces)


def name_rows(request: ReportRequest) -> str:
    """What a row is; one of a virtual model stands for all attempts under it."""
    rows = request.datasource.rows
    if any(f.field_name != FIELD for f in request.query.filters):
        rows = rows.partition(" of all ")[0]
    if request.scope != VIRTUAL:
        return rows
    return VIRTUAL_ROWS + rows.removeprefix("model calls").partition(",")[0]


def _sight(report: Report) -> str:
    """A gateway counts what the token may see, and does not say what that is."""
    return "" if report.result.is_by_rulings else ", as far as this token may see"


def pin_window(request: ReportRequest) -> dict[str, str]:
    """The window as arguments, for a call that has to see the same one.

    The earlier one too: what was the previous period is none before a window of two instants.
    """
    query, earlier = request.query, request.earlier
    pinned = {"startTs": format_instant(query.start_ts), "endTs": format_instant(query.end_ts)}
    if earlier is not None:
        ends = earlier.start, earlier.end
        pinned["compareTo"] = "..".join(map(format_instant, ends))
    return pinned


def describe_filters(filters: Sequence[Filter]) -> list[str]:
    """Each filter as it was sent: `modelName IN ["a", "b"]`; long lists by their length."""
    texts = [_describe(f, _MOST_VALUES) for f in filters]
    if sum(map(len, texts)) > _MOST_LETTERS:
        texts = [_describe(f, _FEW_VALUES) for f in filters]
    shown: list[str] = []
    room = _MOST_LETTERS
    for text in texts:
        room -= len(text)
        if room < 0 and shown:
            break
        shown.append(text)
    rest = len(texts) - len(shown)
    return [*shown, f"…(+{rest} filters)"] if rest else shown


def shown_filters(report: Report) -> list[Filter]:
    """Without the one that the scope phrase stands for."""
    request = report.request
    return [
        f
        for f in request.query.filters
        if request.scope is None or f.field_name != FIELD or f.operator != "IS_NULL"
    ]


def _describe(filter_: Filter, most: int) -> str:
    start = f"{quote_text(filter_.field_name)} {filter_.operator} "
    if not isinstance(filter_.value, tuple):
        return start + _describe_scalar(filter_.value)
    shown = [_describe_scalar(item) for item in filter_.value[:most]]
    rest = len(filter_.value) - len(shown)
    return f"{start}[{', '.join(shown)}{f', …(+{rest})' if rest else ''}]"


def _describe_scalar(value: Scalar) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    text = quote_text(value)
    return text if text.startswith('"') else f'"{text}"'
