"""From a report to the answer of a tool: its document, the page that fits, and its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_metrics_mcp.rendering.distribution import fit_rows
from gateway_metrics_mcp.rendering.document import (
    Page,
    TokenBudget,
    estimate_tokens,
    write_lines,
    write_text,
)
from gateway_metrics_mcp.rendering.exports import write_json
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.rendering.timeseries import fit_buckets
from gateway_metrics_mcp.rendering.value_list import ValueList

# All that an answer says; a page where it is the same for every budget.
Document = ReportDocument | ValueList | Page


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool returns, whatever carries it."""

    text: str
    """All that a model needs to read."""
    document: Document | None = field(default=None, repr=False)
    """What the text was written from."""
    image: bytes | None = field(default=None, repr=False)
    """A picture of it, as PNG."""
    notes: Sequence[str] = ()
    """What is to be known of a text that is rows alone."""
    view: Mapping[str, Any] | None = field(default=None, repr=False)
    """What an interactive view draws, which no model reads."""


# What makes an answer of a document, within a budget of estimated tokens.
Writer = Callable[[Document, int], Answer]


def write_answer(document: Document, budget: int) -> Answer:
    """The answer in the format that was asked for."""
    if isinstance(document, ReportDocument) and document.report.request.format == "json":
        return Answer(write_json(document, budget), document)
    return Answer(write_text(fit(document, budget)), document)


def fit(document: Document, budget: int) -> Page:
    """What of the document is shown, as text, within the budget."""
    if isinstance(document, Page):
        return document
    if isinstance(document, ValueList):
        return document.fit(budget)
    note = document.picture
    if note is not None:
        budget -= estimate_tokens(f"# {note.text}") + 1
    buckets = document.report.buckets
    if document.is_empty:
        page = _fit_empty(document, budget)
    elif document.grid is not None and buckets is not None:
        page = fit_buckets(document, document.grid, buckets, budget)
    else:
        page = fit_rows(document, budget)
    # The last line is for what continues, so this one is the first.
    return page if note is None else Page(page.header, [note, *page.blocks])


def _fit_empty(document: ReportDocument, budget: int) -> Page:
    """Why there are no rows, and what to ask next; the notes between give way to those."""
    header = document.header.show("rows none")
    verdict, *others = document.verdict
    following = others[-1:]
    room = TokenBudget(budget)
    room.take(*write_lines(Page(header, [verdict, *following])))
    between = [*document.notes, *others[:-1]]
    shown = [note for note in between if room.fits(f"# {note.text}")]
    return Page(header, [verdict, *shown, *following])
