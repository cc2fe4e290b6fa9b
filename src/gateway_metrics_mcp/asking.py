"""One tool call -> the upstream calls it takes, side by side -> what was asked and answered."""

from __future__ import annotations

from datetime import datetime

import anyio
import anyio.abc

from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.result import Number, Result


async def ask(
    backend: Backend, caller: Caller, question: Question, *, now: datetime, has_all_row: bool = True
) -> Asked:
    """Ask the question and, where rows are grouped, its ALL row beside it.

    Raises:
        GatewayMetricsError: the first failure; the other call is cancelled then.
    """
    queries = [question.query]
    if has_all_row and question.query.group_by and question.query.interval is None:
        queries.append(question.query.model_copy(update={"group_by": ()}))
    results = await _query_all(backend, caller, queries)
    result, totals = results[0], None
    if len(results) > 1 and len(result.points) != 1:
        totals = _row_of(results[1], result.value_names)
    return Asked(question, result, totals, now)


async def _query_all(backend: Backend, caller: Caller, queries: list[Query]) -> list[Result]:
    """The results in the order of the queries."""
    if len(queries) == 1:
        return [await backend.query(queries[0], caller)]
    results: dict[int, Result] = {}
    failures: list[Exception] = []

    async def run(position: int, group: anyio.abc.TaskGroup) -> None:
        try:
            results[position] = await backend.query(queries[position], caller)
        except Exception as error:  # noqa: BLE001 - raised again below, without a group around it
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for position in range(1, len(queries)):
            group.start_soon(run, position, group)
        await run(0, group)
    if failures:
        raise failures[0]
    return [results[position] for position in range(len(queries))]


def _row_of(result: Result, names: tuple[str, ...]) -> tuple[Number | None, ...] | None:
    """The one row of an ungrouped answer, if it has the same values as the grouped one."""
    if len(result.points) != 1 or result.value_names != names:
        return None
    return result.points[0].values
