"""The command `ask`: runs one tool with its flags as arguments.

Only the answer goes to stdout; notes, problems and checks go to stderr. It needs no MCP server.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway_metrics_mcp.backends.factory import BackendHolder
from gateway_metrics_mcp.cli.ask.flags import PROGRAM, AskOptions, Wording, read_order
from gateway_metrics_mcp.cli.ask.layout import align, as_markdown
from gateway_metrics_mcp.cli.parsers import WRONG_USAGE, read_command_settings
from gateway_metrics_mcp.errors import (
    AskerError,
    GatewayMetricsError,
    InvalidQueryError,
)
from gateway_metrics_mcp.query import LOCAL
from gateway_metrics_mcp.rendering.answer import Answer, Document, fit, write_answer
from gateway_metrics_mcp.rendering.document import UNLIMITED, describe_extent
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.rendering.value_list import ValueList
from gateway_metrics_mcp.reports.columns import Value
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.server.tools import TOOLS, ToolContext, answer_call
from gateway_metrics_mcp.settings import Settings

if TYPE_CHECKING:
    from gateway_metrics_mcp.cli.ask.thresholds import Limit

logger = logging.getLogger(__name__)

FAILED: Final = 1
EMPTY: Final = 4

_FILES: Final = ("csv", "json")

# The tool's format for formats that only this command has.
_SENT: Final = {"aligned": "table", "csv": "exact", "markdown": "table"}

Checks = Sequence[tuple["Limit", Value]]


def main(argv: Sequence[str]) -> int:
    """Ask and print the answer.

    Returns:
        The exit code, as in docs/automation.md: 0 answered, 1 failed, 2 wrong usage, 3 a limit is
        passed, 4 no rows.
    """
    gc.disable()  # one question: the process ends before collecting garbage pays
    try:
        return _run(read_order(argv))
    except Exception:
        # A traceback can hold names from the data and ends up in CI logs: only at DEBUG.
        logger.debug("ask failed", exc_info=True)
        _tell(f"{PROGRAM}: internal error; --log-level DEBUG shows where")
        return FAILED
    finally:
        gc.freeze()  # or the exit would collect, for a thirtieth of the command's time


def _run(order: AskOptions) -> int:
    clock = lambda: datetime.now(UTC)  # noqa: E731 - what the context takes
    try:
        settings = read_command_settings(order.settings)
        opening = BackendHolder(settings, clock)
        # A setting's budget is for the server's models: here only the flag itself counts.
        is_unlimited = order.settings.get("budget") is None or _has_no_budget(order)
        # A terminal shows no interactive view, so its specification is not made.
        shown = {"ui": False, **({"budget": UNLIMITED} if is_unlimited else {})}
        context = ToolContext(
            settings.model_copy(update=shown),
            opening.get,
            clock,
            _read_hiding_key(settings),
            write=partial(_write, order),
        )
        wording = Wording.read(order, context.options.catalog)
        context = replace(context, words=wording.words())
        _add_presentation(order, wording.raw)
        problems = [*order.problems, *wording.problems]
        checks = _validate(order, wording, context, problems)
        if problems:
            return _refuse(problems)
        answer = anyio.run(_answer, opening, order.tool, wording.raw, context)
    except InvalidQueryError as error:
        return _refuse([wording.explain(problem) for problem in error.problems])
    except GatewayMetricsError as error:
        _tell(f"{PROGRAM}: {error}", *(f"- {problem}" for problem in order.problems))
        is_usage = isinstance(error, AskerError) or order.problems
        return WRONG_USAGE if is_usage else FAILED
    return _finish(order, answer, checks)


def _read_hiding_key(settings: Settings) -> bytes | None:
    if not settings.hide_emails and settings.hide_emails_key is None:
        return None
    from gateway_metrics_mcp.server.masking import read_hiding_key  # most answers mask nothing

    return read_hiding_key(settings)


async def _answer(
    opening: BackendHolder, tool: str, raw: Mapping[str, Any], context: ToolContext
) -> Answer:
    async with opening.hold():
        return await answer_call(context, tool, raw, LOCAL)


def _has_no_budget(order: AskOptions) -> bool:
    """Whether the format is one that no budget cuts."""
    return order.format == "csv" or (order.tool == "list_values" and order.format in _FILES)


def _add_presentation(order: AskOptions, raw: dict[str, Any]) -> None:
    """Set the tool's format, and a default `limit`: all rows for files, 1,000 for a screen."""
    if order.tool in ("query_distribution", "query_timeseries"):
        raw["format"] = _SENT.get(order.format, order.format)
    is_file = order.format in _FILES
    if order.tool == "query_timeseries":
        if is_file:
            raw.setdefault("limit", 100_000)
    elif order.tool != "list_fields" and not is_file and order.settings.get("budget") is None:
        raw.setdefault("limit", 1_000)


def _validate(
    order: AskOptions, wording: Wording, context: ToolContext, problems: list[str]
) -> Checks:
    """Collect every problem of the question and its `--fail-if` limits before any query.

    Returns:
        The limits with the columns that they check.
    """
    limits = _read_limits(order, problems) if order.limits else []
    question = None
    try:
        question = TOOLS[order.tool].read(wording.raw, context.options, context.clock())
    except InvalidQueryError as error:
        problems += [wording.explain(problem) for problem in error.problems]
    if not limits or not isinstance(question, ReportRequest):
        return ()
    return _settle_limits(limits, question, problems)


def _read_limits(order: AskOptions, problems: list[str]) -> list[Limit]:
    from gateway_metrics_mcp.cli.ask.thresholds import read_limit  # most questions have no limit

    limits = []
    for text in order.limits:
        try:
            limits.append(read_limit(text))
        except ValueError as error:
            problems.append(f"--fail-if {json.dumps(text)}: {error}")
    if order.format == "explain":
        problems.append("--fail-if: not with --format explain, which asks nothing")
    return limits


def _settle_limits(limits: Sequence[Limit], question: ReportRequest, problems: list[str]) -> Checks:
    from gateway_metrics_mcp.cli.ask.thresholds import settle_limit

    checks: list[tuple[Limit, Value]] = []
    for limit in limits:
        try:
            checks.append(settle_limit(limit, question))
        except ValueError as error:
            problems.append(f"--fail-if {json.dumps(limit.text)}: {error}")
    return checks


def _refuse(problems: Sequence[str]) -> int:
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    _tell(f"{PROGRAM}: {count}", *(f"- {problem}" for problem in problems))
    return WRONG_USAGE


def _finish(order: AskOptions, answer: Answer, checks: Checks) -> int:
    """Print the answer, then the outcome of its checks, even if the answer could not be printed.

    Returns:
        The exit code.
    """
    _tell(*(f"# {note}" for note in answer.notes))
    is_printed = _print(answer.text)
    document = answer.document
    code = _check(checks, document) if isinstance(document, ReportDocument) and checks else 0
    if not is_printed:  # a build has to fail for a passed limit even if nothing could be printed
        return max(code, FAILED)
    has_rows = not isinstance(document, ReportDocument | ValueList) or not document.is_empty
    if order.fails_if_empty and not has_rows:
        _tell(f"{PROGRAM}: no rows")
        return EMPTY
    return code


def _check(checks: Checks, document: ReportDocument) -> int:
    """Print the outcome of each check.

    Returns:
        The exit code of the worst.
    """
    from gateway_metrics_mcp.cli.ask.thresholds import check_limit

    findings = [check_limit(limit, value, document) for limit, value in checks]
    _tell(*(f"{PROGRAM}: {finding.text}" for finding in findings))
    return int(max(finding.outcome for finding in findings))


def _write(order: AskOptions, document: Document, budget: int) -> Answer:
    """Write the document in the requested format; tables are aligned in a terminal."""
    if order.format == "csv" and isinstance(document, ReportDocument):
        return _write_rows(document)
    if order.format in _FILES and isinstance(document, ValueList):
        return _write_values(document, budget, is_csv=order.format == "csv")
    is_seen = order.format in ("table", "exact") and sys.stdout.isatty()
    if order.format == "markdown":
        return Answer(as_markdown(fit(document, budget)), document)
    if is_seen or order.format == "aligned":
        return Answer(align(fit(document, budget)), document)
    return write_answer(document, budget)


def _write_rows(document: ReportDocument) -> Answer:
    """All rows as CSV, and the notes that go to stderr."""
    from gateway_metrics_mcp.rendering.exports import list_remarks, write_csv  # most print tables

    most = document.report.request.limit
    notes = list_remarks(document, *_describe_rows(document, most))
    last = document.report.request.offset + (most or len(document.points))
    if document.grid is None and last < len(document.points):
        notes.append(document.continue_at(last).text)
    if document.report.totals is not None and not document.is_empty:
        notes.append("a CSV has no ALL row: use --format table")
    text = write_csv(document.columns, document.records(most)).rstrip("\n")
    return Answer(text, document, notes=notes)


def _describe_rows(document: ReportDocument, most: int | None) -> list[str]:
    """Which rows of how many the CSV holds, for its header."""
    grid, offset, count = document.grid, document.report.request.offset, len(document.points)
    if document.is_empty:
        return ["no rows"]
    if grid is not None:
        cut = "" if grid.is_ungrouped else grid.describe_cut(most or len(grid.series))
        return [grid.describe_buckets(), cut]
    last = min(offset + (most or count), count)
    return [] if document.is_one_row else [document.order, describe_extent(offset + 1, last, count)]


def _write_values(document: ValueList, budget: int, *, is_csv: bool) -> Answer:
    """The values of a listing as CSV, or as JSON in the shape of query answers."""
    page = document.fit(budget)
    notes = [page.header or "", *(note.text for note in page.notes)]
    rows = document.records()
    if is_csv:
        from gateway_metrics_mcp.rendering.exports import write_csv

        text = write_csv(document.columns, rows).rstrip("\n")
        return Answer(text, document, notes=notes)
    names = [column.name for column in document.columns]
    source = {"source": document.header.source} if document.header.source else {}
    body = {**source, "notes": notes, "columns": names, "rowCount": len(rows), "rows": rows}
    return Answer(json.dumps(body, separators=(",", ":")), document)


def _print(text: str) -> bool:
    """Write to stdout; returns whether it worked. A closed pipe, as with `head`, counts as that."""
    # A character that the output's encoding lacks must not prevent the whole answer.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text stream
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _tell(f"{PROGRAM}: the answer cannot be written: {error.strerror}")
            return False
    return True


def _tell(*lines: str) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
