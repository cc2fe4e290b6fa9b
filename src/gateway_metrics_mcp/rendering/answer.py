"""A tool's answer: the document, the page of it that fits the token budget, and the text.

Charts are drawn in `charts/`; nothing here queries a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_metrics_mcp.rendering.distribution import fit_rows
from gateway_metrics_mcp.rendering.document import (
    Page,
    TokenBudget,
    estimate_tokens,
    write_text,
)
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.rendering.timeseries import BucketSearch
from gateway_metrics_mcp.rendering.value_list import ValueList

# A bare page is a document that is the same for every budget, such as the catalog.
Document = ReportDocument | ValueList | Page


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool returns, independent of the transport."""

    text: str
    """The whole answer for a model."""
    document: Document | None = field(default=None, repr=False)
    """The source of the text; None for errors and resources."""
    image: bytes | None = field(default=None, repr=False)
    """The chart, as PNG."""
    notes: Sequence[str] = ()
    """The notes of a CSV or JSON text, which has no place for them."""
    view: Mapping[str, Any] | None = field(default=None, repr=False)
    """The Vega-Lite specification for the interactive view; hosts keep it from the model."""


# Turns a document into an answer, within a budget of estimated tokens.
Writer = Callable[[Document, int], Answer]


def write_answer(document: Document, budget: int) -> Answer:
    """Write the document in the requested format, within `budget` estimated tokens."""
    if isinstance(document, ReportDocument) and document.report.request.format == "json":
        from gateway_metrics_mcp.rendering.exports import write_json  # most answers are text

        return Answer(write_json(document, budget), document)
    return Answer(write_text(fit(document, budget)), document)


def fit(document: Document, budget: int) -> Page:
    """Choose what to show of the document within `budget` estimated tokens."""
    if isinstance(document, Page):
        return document
    if isinstance(document, ValueList):
        return document.fit(budget)
    note = document.picture
    if note is not None:
        budget -= estimate_tokens(f"# {note.text}") + 1
    if document.is_empty:
        page = _fit_empty(document, budget)
    elif document.grid is not None:
        page = BucketSearch(document, document.grid, budget).fit()
    else:
        page = fit_rows(document, budget)
    # The note on the picture goes first: the last line is reserved for the continuation.
    return page if note is None else Page(page.header, [note, *page.blocks])


def _fit_empty(document: ReportDocument, budget: int) -> Page:
    """The page of an empty answer: why there are no rows, and what to ask next."""
    header = document.header.show("no rows")
    # The verdict and the next step are always shown; notes take only what they leave.
    verdict, *others = document.verdict
    following = others[-1:]
    room = TokenBudget.beside(Page(header, [verdict, *following]), budget)
    between = [*document.notes, *others[:-1]]
    shown = [note for note in between if room.take_if_fits(f"# {note.text}")]
    return Page(header, [verdict, *shown, *following])
