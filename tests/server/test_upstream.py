"""What one tool call asks of the backend: virtual models, the ALL row, side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.errors import RateLimitedError
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Filter, Query
from gateway_metrics_mcp.query.result import DataPoint, Result
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, DatasourceName
from gateway_metrics_mcp.server.app import MetricsServer

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
Calling = Callable[[MetricsServer, str], AbstractAsyncContextManager[Call]]
Recorder = Callable[[Catalog, list[Query], tuple[str, ...]], Backend]
Serve = Callable[..., MetricsServer]

WEEK: Final = {"startTs": "last 7 days"}
FAILED: Final = {"fieldName": "isFailure", "operator": "EQUAL", "value": ["true"]}
GROUPED: Final = {**WEEK, "groupBy": ["modelName"]}

REAL: Final = Filter(field_name="virtualModelName", operator="IS_NULL", value=True)
VIRTUAL: Final = Filter(field_name="virtualModelName", operator="IS_NULL", value=False)
NAMED: Final = Filter(field_name="virtualModelName", operator="EQUAL", value="fast")
SAYS_REAL: Final = "models only, virtual-model rows excluded"
SAYS_VIRTUAL: Final = "virtual models only, their model calls excluded"


@pytest.mark.parametrize("tool", ["query_distribution", "query_timeseries"])
@pytest.mark.parametrize(
    ("arguments", "filters", "said"),
    [
        ({}, (REAL,), SAYS_REAL),
        ({"groupBy": ["virtualModel"]}, (VIRTUAL,), SAYS_VIRTUAL),
        ({"groupBy": ["virtualModelName", "modelName"]}, (VIRTUAL,), SAYS_VIRTUAL),
        ({"aggregations": ["countDistinct virtualModel"]}, (VIRTUAL,), SAYS_VIRTUAL),
        (
            {"filters": [{"fieldName": "virtualModel", "operator": "EQUAL", "value": ["fast"]}]},
            (NAMED,),
            SAYS_VIRTUAL,
        ),
        (
            {"filters": [{"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}]},
            (REAL,),
            SAYS_REAL,
        ),
        (
            {
                "groupBy": ["virtualModel"],
                "filters": [
                    {"fieldName": "virtualModelName", "operator": "IS_NULL", "value": ["true"]}
                ],
            },
            (REAL,),
            SAYS_REAL,
        ),
    ],
    ids=(
        "nothing said",
        "grouped by them",
        "grouped by them under the other name",
        "counted",
        "filtered by name",
        "models alone asked for",
        "grouped by them and models alone asked for",
    ),
)
@pytest.mark.parametrize("datasource", ["modelMetrics", "cacheMetrics"])
async def test_one_side_of_virtual_models_is_asked_and_said(
    call: Call,
    sent: list[Query],
    tool: str,
    arguments: dict[str, Any],
    filters: tuple[Filter, ...],
    said: str,
    datasource: str,
) -> None:
    text, is_error = await call(tool, {**WEEK, **arguments, "datasource": datasource})

    assert not is_error, text
    assert {query.filters for query in sent} == {filters}
    assert f" | {said}" in text.partition("\n")[0]
    assert [other for other in (SAYS_REAL, SAYS_VIRTUAL) if other in text] == (
        [said] if said in (SAYS_REAL, SAYS_VIRTUAL) else []
    )


@pytest.mark.parametrize("datasource", sorted({*DATASOURCES} - {"modelMetrics", "cacheMetrics"}))
async def test_other_datasources_have_no_virtual_models(
    call: Call, sent: list[Query], datasource: str
) -> None:
    text, _ = await call("query_distribution", {**WEEK, "datasource": datasource})

    assert [query.filters for query in sent] == [()]
    assert "virtual" not in text


@pytest.mark.parametrize(
    "operators", [("NOT_EQUAL", "EQUAL"), ("EQUAL", "NOT_IN"), ("STRING_NOT_CONTAINS", "IN")]
)
async def test_a_negative_subject_filter_may_stand_beside_the_other_kind(
    call: Call, sent: list[Query], operators: tuple[str, str]
) -> None:
    users, accounts = operators
    filters = [
        {"fieldName": "userEmail", "operator": users, "value": ["ada@example.com"]},
        {"fieldName": "virtualAccount", "operator": accounts, "value": ["ci"]},
    ]
    _, is_error = await call("query_distribution", {**WEEK, "filters": filters})

    assert (is_error, [len(query.filters) for query in sent]) == (False, [3])


async def test_the_grouped_question_has_its_all_row(call: Call, sent: list[Query]) -> None:
    arguments = {**GROUPED, "aggregations": ["p95 latencyMs"], "filters": [FAILED]}
    await call("query_distribution", arguments)

    rows, everything = sorted(sent, key=lambda query: len(query.group_by), reverse=True)
    assert everything == rows.model_copy(update={"group_by": ()})
    assert rows.group_by == ("modelName",)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("query_distribution", WEEK), ("query_timeseries", WEEK), ("query_timeseries", GROUPED)],
)
async def test_what_is_not_grouped_or_is_a_timeseries_has_no_all_row(
    call: Call, sent: list[Query], tool: str, arguments: dict[str, Any]
) -> None:
    await call(tool, arguments)

    asked = [query for query in sent if (query.type == "timeseries") == tool.endswith("series")]
    groups = [query for query in sent if query not in asked]
    assert len(asked) == 1
    # How many groups a timeseries will have is asked first: a distribution without values.
    counted = {"type": "distribution", "interval": None, "aggregations": ()}
    assert groups == (
        [asked[0].model_copy(update=counted)] if asked[0].interval and asked[0].group_by else []
    )
    assert sent == [*groups, *asked]


async def test_too_many_groups_times_buckets_are_widened_or_refused_with_what_fits(
    catalog: Catalog, sent: list[Query], serve: Serve, calling: Calling, recorder: Recorder
) -> None:
    names = tuple(f"m{n}" for n in range(200))
    arguments = {"startTs": "last 30 days", "groupBy": ["modelName"], "limit": 1}
    async with calling(serve(recorder(catalog, sent, names)), "auto") as call:
        chosen, is_refused = await call("query_timeseries", arguments)
        asked = await call("query_timeseries", {**arguments, "interval": "1 day"})

    assert not is_refused
    assert (
        "\n# buckets of 1 week: 200 groups x 30 buckets of 1 day are more than 5000 points"
        in chosen
    )
    assert asked == (
        (
            "Invalid arguments for query_timeseries:\n"
            "- interval: 200 groups x 30 buckets of 1 day are more than 5000 points. Use 2 days, or"
            " give a shorter window"
        ),
        True,
    )
    assert [(q.type, str(q.interval)) for q in sent] == [
        ("distribution", "None"),
        ("timeseries", "1 week"),
        ("distribution", "None"),
    ]


class _Gate:
    """A backend whose queries wait: each tells that it came, and how it ended."""

    description = "a gate"
    is_by_rulings = False

    def __init__(self) -> None:
        self.arrived: dict[bool, anyio.Event] = {True: anyio.Event(), False: anyio.Event()}
        self.opened: dict[bool, anyio.Event] = {True: anyio.Event(), False: anyio.Event()}
        self.failing: set[bool] = set()
        self.ended: list[tuple[str, str]] = []
        self.callers: list[Caller] = []

    async def query(self, query: Query, caller: Caller) -> Result:
        is_grouped = bool(query.group_by)
        name = "rows" if is_grouped else "ALL"
        self.callers.append(caller)
        self.arrived[is_grouped].set()
        try:
            await self.opened[is_grouped].wait()
        except anyio.get_cancelled_exc_class():
            self.ended.append((name, "cancelled"))
            raise
        if is_grouped in self.failing:
            self.ended.append((name, "failed"))
            raise RateLimitedError(f"{name} failed: ask again later")
        self.ended.append((name, "answered"))
        points = [DataPoint(("a",), (2,)), DataPoint(("b",), (3,))] if is_grouped else []
        points = points or [DataPoint((), (5,))]
        return Result(("modelName",) if is_grouped else (), ("total",), tuple(points))

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.ended.append(("backend", "closed"))


@pytest.fixture
async def gate() -> _Gate:
    return _Gate()


@pytest.fixture(params=["legacy", "auto"])
async def ask(
    request: pytest.FixtureRequest, gate: _Gate, serve: Serve, calling: Calling
) -> AsyncIterator[Call]:
    async with calling(serve(gate), request.param) as call:
        yield call


async def test_both_questions_are_in_flight_at_once(gate: _Gate, ask: Call) -> None:
    answers: list[tuple[str, bool]] = []

    async def run() -> None:
        answers.append(await ask("query_distribution", GROUPED))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await gate.arrived[True].wait()
            await gate.arrived[False].wait()
            assert gate.ended == []
            gate.opened[False].set()
            gate.opened[True].set()

    ((text, is_error),) = answers
    assert not is_error
    assert text.split("\n")[-3:] == ["b|3", "a|2", "ALL|5"]
    assert sorted(gate.ended) == [("ALL", "answered"), ("rows", "answered")]
    assert gate.callers == [LOCAL, LOCAL]


@pytest.mark.parametrize("failing", [True, False])
async def test_a_failure_cancels_the_other_call_and_is_told_once(
    gate: _Gate,
    ask: Call,
    failing: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    gate.failing.add(failing)
    gate.opened[failing].set()
    with anyio.fail_after(60):
        answer = await ask("query_distribution", GROUPED)

    failed, cancelled = ("rows", "ALL") if failing else ("ALL", "rows")
    assert answer == (f"Error (rate_limited): {failed} failed: ask again later", True)
    assert gate.ended == [(failed, "failed"), (cancelled, "cancelled")]


async def test_two_failures_are_told_as_one(gate: _Gate, ask: Call) -> None:
    gate.failing |= {True, False}
    gate.opened[True].set()
    gate.opened[False].set()
    with anyio.fail_after(60):
        text, is_error = await ask("query_distribution", GROUPED)

    assert is_error
    assert text in (
        "Error (rate_limited): rows failed: ask again later",
        "Error (rate_limited): ALL failed: ask again later",
    )


async def give_up(call: Call) -> None:
    await call("query_distribution", GROUPED)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_gives_up_cancels_both(
    gate: _Gate, serve: Serve, calling: Calling, mode: str
) -> None:
    async with calling(serve(gate), mode) as call:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(give_up, call)
                await gate.arrived[True].wait()
                await gate.arrived[False].wait()
                group.cancel_scope.cancel()

    assert sorted(gate.ended) == [("ALL", "cancelled"), ("rows", "cancelled")]


async def test_the_all_row_can_be_switched_off(gate: _Gate, serve: Serve, calling: Calling) -> None:
    gate.opened[True].set()
    async with calling(serve(gate, all_row=False), "auto") as call:
        text, _ = await call("query_distribution", GROUPED)

    assert text.split("\n")[-2:] == ["b|3", "a|2"]
    assert gate.ended == [("rows", "answered")]


async def test_a_backend_that_was_given_is_left_open(
    gate: _Gate, serve: Serve, calling: Calling
) -> None:
    gate.opened[False].set()
    async with calling(serve(gate), "auto") as call:
        await call("query_distribution", WEEK)

    assert gate.ended == [("ALL", "answered")]
