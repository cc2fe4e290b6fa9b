"""The report of an import: what was read, written and refused, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway_metrics_mcp.cli.ingest.engine import BROKEN_LINE, Counts, Refusal, column_defaults
from gateway_metrics_mcp.cli.ingest.mapping import Assignments, Match, describe
from gateway_metrics_mcp.cli.ingest.sources import SourceFile

_MOST_REASONS = 10


@dataclass(slots=True)
class Report:
    """The facts of a run, filled in as it proceeds."""

    table: str
    columns: dict[str, str]
    assignments: Assignments
    known: list[tuple[SourceFile, str]]
    sources: list[SourceFile] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    refusals: list[Refusal] = field(default_factory=list)
    left_out: str = ""
    costs: tuple[int, int, list[str]] | None = None
    days: list[str] = field(default_factory=list)
    folder: Path | None = None

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        for source, place in self.known:
            yield f"{source.path}: imported before, in {place}; --again imports it again"
        if not self.sources:
            yield "nothing new to import"
            return
        counts = self.counts
        files = f"{len(self.sources)} file{'s' if len(self.sources) > 1 else ''}"
        left_out = f", {counts.left_out:,} left out ({self.left_out})" if counts.left_out else ""
        yield (
            f"{files}: {counts.read:,} rows read, {counts.good:,} written,"
            f" {counts.refused:,} refused{left_out}"
        )
        yield from _explain_reasons(self)
        if self.folder is None:
            yield "no rows, so nothing was written"
            return
        if counts.refused:
            yield f"refused rows: {self.folder / '_refused.jsonl'}"
        yield from self._explain_columns()
        if self.costs is not None:
            yield from _explain_costs(*self.costs)
        span = self.days[0] if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"
        plural = "s" if len(self.days) > 1 else ""
        yield f"{len(self.days)} UTC day{plural}, {span}, in {self.folder}"
        yield "to undo it, remove that folder"

    def _explain_columns(self) -> Iterator[str]:
        """Which columns were mapped, filled with defaults, ambiguous, or not read."""
        by_column = {t: n for match in self.matches for t, n in match.by_column.items()}
        if by_column:
            yield f"mapped: {describe(by_column)}"
        if self.assignments.constants:
            yield f"set: {describe(self.assignments.constants)}"
        given = {target for match in self.matches for target in match.expressions}
        filled = [name for name in column_defaults(self.table) if name not in given]
        ids = [name for name in filled if name in ("TraceId", "SpanId")]
        if ids:
            yield f"made from each file's content and row number: {', '.join(ids)}"
        others = [name for name in filled if name not in ids]
        if others:
            yield f"filled with a default, as the layout requires a value: {', '.join(others)}"
        ambiguous = sorted({name for match in self.matches for name in match.ambiguous})
        if ambiguous:
            yield f"not mapped, as several could be the same column: {', '.join(ambiguous)}"
        unread = sorted({name for match in self.matches for name in match.unread})
        if unread:
            yield f"not read: {', '.join(unread)}"


def explain_refusals(report: Report) -> Iterator[str]:
    """The error text of a run that refused rows stopped."""
    counts = report.counts
    yield f"nothing was imported: {counts.refused:,} of {counts.read:,} rows are refused"
    yield from _explain_reasons(report)


def _explain_reasons(report: Report) -> Iterator[str]:
    for refusal in report.refusals[:_MOST_REASONS]:
        unit = "line" if refusal.reason.startswith(BROKEN_LINE) else "row"
        first = f"first: {report.sources[refusal.file].path.name}, {unit} {refusal.row:,}"
        yield f"  {refusal.rows:,} refused: {refusal.reason} ({first})"
    more = report.refusals[_MOST_REASONS:]
    if more:
        yield f"  {sum(refusal.rows for refusal in more):,} refused for {len(more)} other reasons"


def _explain_costs(filled: int, lacking: int, models: list[str]) -> Iterator[str]:
    yield f"cost filled in from prices: {filled:,} rows"
    if lacking:
        yield f"no price, so no cost: {lacking:,} rows ({', '.join(models)})"
