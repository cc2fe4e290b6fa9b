"""Arguments that cannot be taken: each a readable error with the way out, never a crash."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp_types import CallToolResult

from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import Settings

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]

WEEK: Final = {"startTs": "last 7 days"}
EQUAL: Final = {"fieldName": "modelName", "operator": "EQUAL", "value": "a"}
MOST_LETTERS: Final = 20_000
ROUGH: Final = (
    "Traceback",
    "pydantic",
    "Input should",
    "validation error",
    "internal",
    "object at",
)

PROBLEMS: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "a misspelt argument": (
        {"group_by": ["modelName"]},
        ['"group_by": unknown argument. Did you mean groupBy? Allowed: '],
    ),
    "an argument that is no word": ({"a\nb": 1}, ['"a\\u000ab": unknown argument. Allowed: ']),
    "an argument of another tool": (
        {"interval": "1 hour"},
        ['"interval": unknown argument. query_timeseries has a row per bucket of an interval. '],
    ),
    "a misspelt datasource": (
        {"datasource": "modelMetric"},
        ['datasource: "modelMetric" is unknown. Did you mean modelMetrics'],
    ),
    "a number for a datasource": ({"datasource": 5}, ["datasource: 5 is unknown. Allowed: "]),
    "a misspelt function": (
        {"aggregations": ["summ costInUSD"]},
        ['aggregations[0]: "summ costInUSD" is not a measure. Did you mean sum costInUSD? '],
    ),
    "a misspelt column": (
        {"aggregations": ["sum costInUS"]},
        [
            'aggregations[0].column: "costInUS" is not a column of modelMetrics. Did you mean cost',
        ],
    ),
    "an unknown order beside an unknown filter": (
        {
            "orderBy": "sumCots",
            "aggregations": ["sum costInUSD"],
            "filters": [{**EQUAL, "fieldName": "modelNam"}],
        },
        ['filters[0].fieldName: "modelNam" is ', 'orderBy: unknown column "sumCots"'],
    ),
    "a column without a function": (
        {"aggregations": ["costInUSD"]},
        ["aggregations[0].type: missing. Allowed: sum, "],
    ),
    "a function without a column": (
        {"aggregations": ["sum"]},
        ["aggregations[0].column: expected a name"],
    ),
    "a rate without buckets": (
        {"aggregations": ["ratePerMinute costInUSD"]},
        ["aggregations[0]: ratePerMinute needs a timeseries"],
    ),
    "aggregations that are none": (
        {"aggregations": [5, None, [], {}]},
        [
            "aggregations[0]: expected ",
            "aggregations[1]: expected ",
            "aggregations[2]: expected ",
            "aggregations[3].type: missing",
            "aggregations[3].column: expected a name",
        ],
    ),
    "a misspelt group": (
        {"groupBy": ["model"]},
        ['groupBy[0]: "model" is not a group-by field of modelMetrics. Did you mean modelName?'],
    ),
    "groups that are no names": (
        {"groupBy": [5, {"name": "modelName"}, True]},
        ["groupBy[0]: expected a name", "groupBy[1]: expected a name", "groupBy[2]: expected a"],
    ),
    "metadata without a key": ({"groupBy": ["metadata."]}, ["groupBy[0]: the key is missing."]),
    "filters that are none": (
        {"filters": ["modelName", 5]},
        ["filters[0]: expected ", "filters[1]: expected "],
    ),
    "a filter without anything": (
        {"filters": [{"fieldName": "", "value": "a"}]},
        ["filters[0]: give fieldName", "filters[0].operator: missing. Allowed: EQUAL, "],
    ),
    "a filter with lists and objects for names": (
        {"filters": [{"fieldName": [1], "operator": [2], "value": {}}]},
        ["filters[0].fieldName: expected a name", "filters[0].operator: [2] is unknown."],
    ),
    "a filter with an object for its operator": (
        {"filters": [{**EQUAL, "operator": {"is": "EQUAL"}}]},
        ["filters[0].operator: "],
    ),
    "a misspelt operator": (
        {"filters": [{**EQUAL, "operator": "EQUALL"}]},
        ['filters[0].operator: "EQUALL" is unknown. Did you mean EQUAL?'],
    ),
    "an unknown filter field": (
        {"filters": [{**EQUAL, "fieldName": "model"}]},
        ['filters[0].fieldName: "model" is not a filter of modelMetrics. Did you mean modelName?'],
    ),
    "several values for one": (
        {"filters": [{**EQUAL, "operator": "STRING_CONTAINS", "value": ["a", "b"]}]},
        ["filters[0].value: STRING_CONTAINS takes one value, got ['a', 'b']. For several use IN"],
    ),
    "no value": ({"filters": [{**EQUAL, "value": None}]}, ["filters[0].value: "]),
    "an object as a value": ({"filters": [{**EQUAL, "value": {"a": 1}}]}, ["filters[0].value: "]),
    "text for a number": (
        {"filters": [{"fieldName": "latencyMs", "operator": "GREATER_THAN", "value": ["slow"]}]},
        ['filters[0].value: expected a finite number of at most 64 bits, got "slow"'],
    ),
    "no finite number": (
        {"filters": [{"fieldName": "latencyMs", "operator": "GREATER_THAN", "value": ["nan"]}]},
        ["filters[0].value: expected a finite number of at most 64 bits, got nan"],
    ),
    "a range from high to low": (
        {"filters": [{"fieldName": "latencyMs", "operator": "BETWEEN", "value": ["2", "1"]}]},
        ["filters[0].value: low 2 is above high 1"],
    ),
    "users and virtual accounts at once": (
        {
            "filters": [
                {"fieldName": "userEmail", "operator": "EQUAL", "value": ["ada@example.com"]},
                {"fieldName": "virtualaccount", "operator": "IN", "value": ["ci"]},
            ]
        },
        [
            (
                "filters: userEmail and virtualAccount together match nothing: a subject is a user"
                " or a virtual account. Ask each alone, or group by userEmail and virtualaccount"
                " and filter createdBySubjectType"
            )
        ],
    ),
    "too many filters": ({"filters": [EQUAL] * 1000}, ["filters: 1000 entries, the limit is 100"]),
    "a huge name": ({"groupBy": ["metadata." + "x" * 10_000]}, ["groupBy: a name of more than "]),
    "a huge argument name": ({"x" * 10_000: 1}, ['"xxx']),
    "a huge key of a filter": ({"filters": [{**EQUAL, "y" * 10_000: 1}]}, ["filters[0].yyy"]),
    "a NUL": (
        {"groupBy": ["metadata.a\0"], "filters": [{**EQUAL, "value": "a\0"}]},
        ["groupBy: contains a NUL", "filters: contains a NUL"],
    ),
    "half a surrogate pair": (
        {"groupBy": "metadata.\ud800", "filters": [{"metadataKey": "\udfff", **EQUAL}]},
        [
            "groupBy: contains a NUL or half a surrogate",
            "filters: contains a NUL or half a surrogate",
        ],
    ),
    "JSON text that nests deeply": (
        {"filters": "[" * 50_000, "groupBy": "[" * 5_000 + "]" * 5_000},
        ["groupBy: a name of more than ", "filters[0]: expected "],
    ),
    "a list that nests deeply": (
        {"aggregations": json.loads("[" * 100 + "5" + "]" * 100)},
        ["aggregations[0]: expected "],
    ),
    "a number that is none": ({"limit": "ten"}, ["limit: expected a whole number from 1, got "]),
    "a boolean for a number": ({"limit": True}, ["limit: expected a whole number from 1, got "]),
    "half a row": ({"limit": 1.5}, ["limit: expected a whole number from 1, got 1.5"]),
    "no rows": ({"limit": 0}, ["limit: expected a whole number from 1, got 0"]),
    "fewer than no rows": ({"offset": -1}, ["offset: expected a whole number from 0, got -1"]),
    "a list for a number": ({"offset": [1]}, ["offset: expected a whole number from 0, got [1]"]),
    "digits without end": ({"limit": "9" * 9_999}, ["limit: expected a whole number from 1, got "]),
    "an unknown format": ({"format": "xml"}, ['format: "xml" is unknown. Allowed: table, exact, ']),
    "a list for the format": ({"format": ["json"]}, ["format: ['json'] is unknown."]),
    "an order by what is not there": (
        {"orderBy": "sum costInUSD"},
        [
            'orderBy: unknown column "sum costInUSD". It is a column if sum costInUSD is one',
        ],
    ),
    "no text for an order": ({"orderBy": 5}, ["orderBy: unknown column 5."]),
    "an empty order": ({"orderBy": "-"}, ['orderBy: unknown column ""']),
    "an unknown zone": ({"timezone": "Mars"}, ['timezone: "Mars" is not a known time zone.']),
    "no text for a zone": ({"timezone": 5}, ["timezone: expected text, got 5"]),
    "no text for the end": ({"endTs": 5}, ["endTs: 5 is a number, not text"]),
    "an end before the start": ({"startTs": "2026-07-01", "endTs": "2026-06-01"}, ["endTs: "]),
    "no start": ({"startTs": None}, ["startTs: missing"]),
    "an object for the start": ({"startTs": {"a": 1}}, ["startTs: expected text"]),
    "huge text for the start": ({"startTs": "9" * 100_000}, ["startTs: 100000 characters"]),
    "all of it at once": (
        {
            "datasource": "modelMetrics",
            "aggregations": ["sum coast"],
            "filters": [{"fieldName": "model", "operator": "IZ", "value": 1}],
            "groupBy": ["model"],
            "startTs": "never",
            "format": "xml",
            "limit": 0,
            "order": 1,
        },
        [
            '"order": unknown argument.',
            "format: ",
            "limit: ",
            "startTs: ",
            "aggregations[0].column: ",
            "groupBy[0]: ",
            "filters[0].fieldName: ",
            "filters[0].operator: ",
            "orderBy: ",
        ],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
async def test_each_problem_is_said_with_the_way_out(
    call: Call, sent: list[Query], case: str
) -> None:
    arguments, problems = PROBLEMS[case]
    text, is_error = await call("query_distribution", {**WEEK, **arguments})
    first, *lines = text.split("\n")
    lines = lines[lines[0].startswith("Corrected") :]  # test_corrections.py

    assert (first, is_error, sent) == ("Invalid arguments for query_distribution:", True, [])
    assert [line.removeprefix("- ")[: len(p)] for line, p in zip(lines, problems, strict=True)] == (
        problems
    )
    assert [word for word in ROUGH if word in text] == []
    assert len(text.encode()) < MOST_LETTERS


async def test_very_many_problems_are_counted(call: Call) -> None:
    wrong = [{**EQUAL, "fieldName": f"nothing {number}"} for number in range(100)]
    text, is_error = await call("query_distribution", {**WEEK, "filters": wrong})

    lines = text.split("\n")
    assert is_error
    assert [line.partition(":")[0] for line in lines[1:-1]] == [
        f"- filters[{number}].fieldName" for number in range(20)
    ]
    assert lines[-1] == "and 80 more like these"


MANY: Final = [str(number) for number in range(30_000)]
EXCESSES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "arguments": (dict.fromkeys(MANY, 1), "arguments: 30001 keys, the limit is 20"),
    "values of a filter": (
        {"filters": [{"fieldName": "modelName", "operator": "IN", "value": MANY}]},
        "filters[0].value: 30000 entries, the limit is 1000",
    ),
    "values in JSON text": (
        {"filters": [{"fieldName": "modelName", "operator": "IN", "value": json.dumps(MANY)}]},
        "filters[0].value: 30000 entries, the limit is 1000",
    ),
    "keys of a filter in JSON text": (
        {"filters": json.dumps([dict.fromkeys(MANY, 1)])},
        "filters[0]: 30000 keys, the limit is 20",
    ),
    "filters": ({"filters": [EQUAL] * 101}, "filters: 101 entries, the limit is 100"),
}


async def test_in_is_only_named_where_the_field_takes_it(call: Call) -> None:
    equal = {"fieldName": "isFailure", "operator": "EQUAL", "value": [True, False]}
    text, _ = await call("query_distribution", {**WEEK, "filters": [equal]})

    assert text.endswith("\n- filters[0].value: EQUAL takes one value, got [True, False]")


@pytest.mark.parametrize("case", EXCESSES)
async def test_what_holds_more_than_anyone_needs_is_not_read(
    call: Call, sent: list[Query], case: str
) -> None:
    arguments, problem = EXCESSES[case]
    text, is_error = await call("query_distribution", {**WEEK, **arguments})

    assert (is_error, sent) == (True, [])
    assert text == f"Invalid arguments for query_distribution:\n- {problem}"


@pytest.mark.parametrize("tool", ["query_distribution", "query_timeseries"])
async def test_every_problem_of_each_query_tool_is_found(call: Call, tool: str) -> None:
    text, is_error = await call(tool, {"datasource": "no", "groupBy": ["no"], "limit": "no"})

    assert is_error
    assert [line.partition(":")[0] for line in text.split("\n")] == [
        f"Invalid arguments for {tool}",
        "- limit",
        "- startTs",
        "- datasource",
    ]


async def test_too_many_buckets_are_refused_with_a_better_width(call: Call) -> None:
    assert await call("query_timeseries", {**WEEK, "interval": "1 second"}) == (
        (
            "Invalid arguments for query_timeseries:\n"
            "- interval: 1 second would give 604800 buckets, the limit is 5000. Use 5 minutes, or a"
            " shorter window"
        ),
        True,
    )


TEXTS: Final = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(
        (
            *("last 7 days", "2025-03-01", "now-1d", "1 hour", "UTC", "Europe/Berlin", "json"),
            *("modelMetrics", "sum costInUSD", "p95 latencyMs", "modelName", "userEmail"),
            *("metadata.env", "EQUAL", "IN", "BETWEEN", "IS_NULL", "[]", "{", '["modelName"]'),
        )
    ),
)
SCALARS: Final = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
FILTER_KEYS: Final = st.sampled_from(("fieldName", "metadataKey", "operator", "value", "type"))
JSON: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(FILTER_KEYS | TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES: Final = sorted({name for tool in TOOLS.values() for name in tool.arguments.names()})


@pytest.fixture(scope="module")
async def engine(directory: Path) -> AsyncIterator[MetricsServer]:
    """The server itself: clients cannot send all that a client's bytes can say."""
    server = build_server(Settings(backend=str(directory)))
    async with server.hold():
        yield server


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    tool=st.sampled_from(sorted(TOOLS)),
    arguments=st.dictionaries(st.sampled_from(NAMES) | TEXTS, JSON, max_size=6),
    has_window=st.booleans(),
)
async def test_any_json_gives_one_text_soon(
    engine: MetricsServer,
    text_of: Callable[[CallToolResult], tuple[str, bool]],
    tool: str,
    arguments: dict[str, Any],
    has_window: bool,  # noqa: FBT001 - drawn
) -> None:
    with anyio.fail_after(60):
        window = {"startTs": "2025-03-01", "endTs": "2025-03-03"} if has_window else {}
        text, is_error = text_of(await engine.call_tool(tool, {**arguments, **window}))

    assert text.encode()
    assert len(text) < 2 * MOST_LETTERS
    if is_error:
        assert text.startswith(("Invalid arguments for ", "Error ("))
        assert [word for word in ROUGH if word in text and word not in str(arguments)] == []
