"""A rate is null where no row recorded what it counts; 0 % needs a row that recorded it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent
from pydantic import SecretStr
from tests import loopback

from gateway_metrics_mcp.auth.policies import OpenPolicy
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.query.model import Caller
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

WINDOW: Final = {"startTs": "2026-07-14T00:00:00Z", "endTs": "2026-07-15T00:00:00Z"}
TABLES: Final = {
    "modelMetrics": ("gateway_model_metrics", "ModelName", "modelName"),
    "agentMetrics": ("gateway_request_metrics", "AgentName", "agentName"),
    "guardrailMetrics": ("gateway_guardrail_metrics", "GuardrailName", "guardrailName"),
    "configMetrics": ("gateway_config_metrics", "ConfigType", "configType"),
}
RATES: Final = [
    ("modelMetrics", "errorRate", "IsFailure", True, False),
    ("agentMetrics", "errorRate", "IsFailure", True, False),
    ("guardrailMetrics", "guardrailBlockRate", "GuardrailResult", "fail", "pass"),
    ("guardrailMetrics", "guardrailErrorRate", "GuardrailResult", "error", "pass"),
    ("configMetrics", "ruleFailureRate", "Status", "fail", "pass"),
]
NULL_NOTE: Final = "null where no row recorded it, which is not 0"


def rows_of(datasource: str, column: str, **groups: list[Any]) -> list[dict[str, Any]]:
    """A row for each value of each group."""
    key = TABLES[datasource][1]
    return [
        {"CreatedAt": "2026-07-14T12:00:00Z", key: name, column: value, "LatencyMs": 5.0}
        for name, values in groups.items()
        for value in values
    ]


def read(text: str) -> dict[str, str]:
    """The last cell of each row by its first one."""
    lines = [line for line in text.split("\n") if not line.startswith("# ")]
    return {line.split("|")[0]: line.split("|")[-1] for line in lines[2:]}


@pytest.mark.parametrize(("datasource", "rate", "column", "hit", "miss"), RATES)
def test_a_rate_is_null_where_nothing_recorded_it(
    world: Any, datasource: str, rate: str, column: str, hit: Any, miss: Any
) -> None:
    table, _, key = TABLES[datasource]
    rows = rows_of(
        datasource,
        column,
        some=[hit, miss, miss, miss],
        none=[miss, None],
        unknown=[None, None],
        mixed=[hit, None],
    )
    world.fill(rows, table)
    asked = {**WINDOW, "datasource": datasource, "groupBy": [key], "aggregations": [rate]}

    for is_by_rulings in (True, False):
        text = world.ask(asked, is_by_rulings=is_by_rulings)
        expected = {"some": "25.0%", "none": "0%", "unknown": "null", "mixed": "50.0%"}
        assert read(text) == {**expected, "ALL": "20.0%"}
        assert NULL_NOTE in text
    filled = [one for one in rows if one[column] is not None]
    world.fill(filled, table)
    assert NULL_NOTE not in world.ask(asked)


@pytest.mark.parametrize(("datasource", "rate", "column", "hit", "miss"), RATES)
def test_a_rate_of_all_calls_is_null_if_none_recorded_it(
    world: Any, datasource: str, rate: str, column: str, hit: Any, miss: Any
) -> None:
    table, _, key = TABLES[datasource]
    asked = {**WINDOW, "datasource": datasource, "aggregations": [rate]}

    for values, expected in (([None, None], "null"), ([miss, None], "0%"), ([hit], "100.0%")):
        world.fill(rows_of(datasource, column, one=values, two=values), table)
        assert f"{rate}: {expected}" in world.ask(asked)
        by_group = world.ask({**asked, "groupBy": [key]})
        assert read(by_group) == {"one": expected, "two": expected, "ALL": expected}
        by_hour = world.ask({**asked, "interval": "12 hours"})
        assert by_hour.split("\n")[-1].endswith(f"|{expected}")
        said = f"{rate} is null in all of these rows: not recorded (not 0)"
        assert (said in by_group) == (expected == "null")


def test_in_a_comparison_each_window_is_judged_by_its_own_rows(world: Any) -> None:
    before = {"CreatedAt": "2026-07-13T12:00:00Z", "ModelName": "a"}
    now = {"CreatedAt": "2026-07-14T12:00:00Z", "ModelName": "a", "IsFailure": False}
    world.fill([before, now, {**now, "ModelName": "b"}])

    text = world.ask(
        {
            **WINDOW,
            "aggregations": ["errorRate"],
            "groupBy": ["modelName"],
            "compareTo": "previous",
        },
        is_by_rulings=True,
        calls=7,
    )

    (line,) = [line for line in text.split("\n") if line.startswith("a|")]
    assert line.split("|")[-4:] == ["0%", "null", "null", "null"]


def test_where_calls_run_out_the_answer_says_that_it_was_not_checked(world: Any) -> None:
    rows = rows_of("modelMetrics", "IsFailure", a=[None], b=[None])
    world.fill([*rows, *({**one, "CreatedAt": "2026-07-13T12:00:00Z"} for one in rows)])
    asked = {**WINDOW, "groupBy": ["modelName"], "aggregations": ["errorRate"]}

    for calls, which in ((6, ""), (7, " in the earlier window")):
        text = world.ask({**asked, "compareTo": "previous"}, calls=calls)
        said = f"not checked whether rates of 0{which} were recorded at all (call limit reached)"
        assert said in text
    assert "not checked" not in world.ask(asked, calls=6)


def test_over_a_gateway_the_same_question_has_the_same_answer(world: Any) -> None:
    world.fill(rows_of("modelMetrics", "IsFailure", a=[False], b=[None], c=[True]))
    settings = Settings(backend=str(world.directory))
    asked = {**WINDOW, "groupBy": ["modelName"], "aggregations": ["errorRate"]}

    async def ask() -> str:
        app = build_api_app(MetricsApi(settings), settings, OpenPolicy())
        async with loopback.listen(app) as port:
            gateway = Settings(backend=f"http://127.0.0.1:{port}", token=SecretStr("any"))
            async with Client(build_server(gateway)) as client:
                block = (await client.call_tool("query_distribution", asked)).content[0]
        assert isinstance(block, TextContent)
        return block.text

    assert read(world.runner.run(ask())) == {"a": "0%", "b": "null", "c": "100.0%", "ALL": "33.3%"}


def test_a_restricted_caller_s_rate_is_of_the_rows_it_sees(world: Any) -> None:
    mine = {"CreatedBySubjectSlug": "ada@example.com", "CreatedBySubjectType": "user"}
    rows = rows_of("modelMetrics", "IsFailure", a=[None], b=[False])
    hidden = rows_of("modelMetrics", "IsFailure", a=[False, True])
    world.fill([*({**one, **mine} for one in rows), *hidden])

    asked = {**WINDOW, "groupBy": ["modelName"], "aggregations": ["errorRate"]}
    text = world.ask_as(Caller("ada@example.com"), asked)

    assert read(text) == {"a": "null", "b": "0%", "ALL": "0%"}
