"""Notes on what is not there: no rows, rows left out, partial buckets and gaps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import DataPoint, Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Ask = Callable[..., Awaitable[str]]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}


def filter_by(field: str, *values: str, operator: str = "IN") -> dict[str, Any]:
    return {"fieldName": field, "operator": operator, "value": list(values)}


SLUG: Final = "createdBySubjectSlug"


@pytest.mark.parametrize("format_", ["table", "exact"])
async def test_nothing_is_said_to_be_nothing(ask: Ask, format_: str) -> None:
    filters = [filter_by("modelName", "gpt")]
    question = {**WEEK, "groupBy": ["modelName"], "format": format_}

    there = [{"modelName": name, "total": 5} for name in ("gpt-4o", "claude")]
    text = await ask([], {**question, "filters": filters}, unfiltered=there)
    silence = await ask([], {**question, "filters": filters}, unfiltered=[])

    header = (
        "# modelMetrics by modelName | 2026-07-01T00:00Z to 2026-07-08T00:00Z (7 days)"
        ' | filter: modelName IN ["gpt"] | models only, virtual-model rows excluded'
        " | counts model calls, retries included | no rows\n"
    )
    assert text == header + (
        "no rows in this window (rows are model calls, retries included)"
        ' match modelName IN ["gpt"]; without the filters 10 do\n'
        '# modelName "gpt" has no rows: did you mean gpt-4o?\n'
        "# next: the same with a value that exists: values match exactly, case-sensitive"
    )
    assert silence == header + (
        "no traffic in this window (rows are model calls, retries included):"
        " filters are not the reason\n"
        "# next: a wider or a later window, or another datasource"
    )


@pytest.mark.parametrize(
    "arguments", [{}, {"groupBy": ["modelName"]}, {"interval": "1 day"}], ids=str
)
async def test_nothing_without_filters_asks_for_a_wider_window(
    ask: Ask, arguments: dict[str, Any]
) -> None:
    text = await ask([], {**WEEK, **arguments})

    assert text.split("\n")[1:] == [
        (
            "no traffic in this window (rows are model calls, retries included):"
            " filters are not the reason"
        ),
        "# next: a wider or a later window, or another datasource",
    ]


async def test_one_ungrouped_row_that_counts_nothing_is_empty(ask: Ask) -> None:
    rows = [{"total": 0, "sumCostInUSD": None}]

    text = await ask(rows, {**WEEK, "aggregations": ["sum costInUSD"]})

    assert "\nno traffic in this window (rows are model calls, retries included)" in text
    assert "total: 0" not in text


@pytest.mark.parametrize(
    ("field", "operator", "said"),
    [
        ("errorCode", "NOT_EQUAL", "also excludes rows where errorCode is null"),
        ("metadata.a", "NOT_IN", "also excludes rows where metadata.a is null"),
        ("userEmail", "NOT_EQUAL", "keeps all virtual accounts"),
        ("virtualAccount", "NOT_IN", "keeps all users"),
    ],
)
async def test_a_negative_filter_says_what_it_leaves_in_or_out(
    ask: Ask, field: str, operator: str, said: str
) -> None:
    rows = [{"total": 7}]

    negative = await ask(rows, {**WEEK, "filters": [filter_by(field, "x", operator=operator)]})
    positive = await ask(rows, {**WEEK, "filters": [filter_by(field, "x")]})

    assert f"\n# {field} {operator} {said}\n" in negative
    assert "null" not in positive
    assert "keeps" not in positive


async def test_a_metadata_key_that_no_row_has_is_said(ask: Ask) -> None:
    question = {**WEEK, "groupBy": ["metadata.Customer"]}
    said = "# none of these rows has the metadata key Customer (case-sensitive)"

    absent = await ask([{"metadata.Customer": None, "total": 5}], question)
    present = await ask([{"metadata.Customer": key, "total": 5} for key in ("a", None)], question)
    near = await ask(
        [{"metadata.Customer": None, "total": 5}], question, metadata_keys=["env", "customer"]
    )

    assert said in absent
    assert said not in present
    assert "# none of these rows has the metadata key Customer: did you mean customer?\n" in near


async def test_rates_of_partial_buckets_are_said_to_be_too_low(ask: Ask) -> None:
    key = "ratePerMinuteInputTokens"
    rows = [{"startTimestamp": "2026-07-01T00:00:00Z", "total": 5, key: 1.5}]
    question = {"startTs": "2026-07-01T12:00Z", "endTs": "2026-07-02", "interval": "1 day"}
    said = "# rates of a partial bucket are too low: they divide by its whole width"

    rates = await ask(rows, {**question, "aggregations": ["ratePerMinute inputTokens"]})
    sums = await ask(rows, {**question, "aggregations": ["sum inputTokens"]})
    whole = await ask(
        rows, {**question, "startTs": "2026-07-01", "aggregations": ["ratePerMinute inputTokens"]}
    )

    assert said in rates
    assert said not in sums
    assert said not in whole


async def test_what_a_gateway_does_with_null_is_not_claimed(ask: Ask) -> None:
    filters = [filter_by("errorCode", "x", operator="NOT_EQUAL")]

    text = await ask([{"total": 7}], {**WEEK, "filters": filters}, is_by_rulings=False)

    said = "# whether errorCode NOT_EQUAL keeps rows where errorCode is null depends on the gateway"
    assert f"\n{said}\n" in text
    counted = "counts model calls, retries included, visible to this token"
    assert text.split("\n")[0].endswith(f" | {counted}")


async def test_groups_that_none_of_the_rows_is_in_are_not_told_as_no_rows() -> None:
    class Accounts:
        """Rows of virtual accounts alone."""

        description = "accounts"
        is_by_rulings = False

        async def query(self, query: Query, caller: Caller) -> Result:
            assert caller.is_tenant_admin
            points = () if query.group_by else (DataPoint((), (5,)),)
            names = (SLUG,) if query.group_by else ()
            return Result(names, ("total",), points)

        def explain(self, query: Query, caller: Caller) -> str:
            raise NotImplementedError

        async def metadata_keys(
            self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
        ) -> Result | None:
            raise NotImplementedError

        async def aclose(self) -> None:
            """Nothing is open."""

    server = build_server(Settings(), backend=Accounts())
    async with Client(server) as client:
        question = {**WEEK, "groupBy": ["userEmail"]}
        (block,) = (await client.call_tool("query_distribution", question)).content

    assert isinstance(block, TextContent)
    assert "none of the 5 rows here (rows are model calls, retries included)" in block.text


async def test_an_empty_answer_names_the_askers_own_filter_on_virtual_models(ask: Ask) -> None:
    filters = [filter_by("virtualModelName", "nope")]

    there = [{"virtualModelName": name, "total": 5} for name in ("fast", "slow")]

    text = await ask([], {**WEEK, "filters": filters}, unfiltered=there)

    assert 'match virtualModelName IN ["nope"]; without the filters 10 do\n' in text
    assert '\n# virtualModelName "nope" has no rows, and no value is similar\n' in text


@pytest.mark.parametrize(
    ("more", "where", "without"),
    [
        ({}, "in this window", "; without the filters there are rows"),
        # no call is left for that
        ({"aggregations": ["errorRate"], "compareTo": "previous"}, "in either window", ""),
    ],
    ids=["probed", "not probed"],
)
async def test_no_request_to_a_virtual_model_is_not_told_as_no_traffic(
    ask: Ask, more: dict[str, Any], where: str, without: str
) -> None:
    there = [{"virtualModelName": None, "total": 5}]

    text = await ask([], {**WEEK, "groupBy": ["virtualModel"], **more}, unfiltered=there)

    lines = text.split("\n")
    assert lines[1] == (
        f"no rows {where} (rows are requests to virtual models) match virtual models"
        f" only, their model calls excluded{without}"
    )
    assert all("errorRate = " in line for line in lines[2:-1])
    assert lines[-1] == "# next: a wider window"


async def test_an_empty_answer_names_the_metadata_key_that_comes_near(ask: Ask) -> None:
    question = {**WEEK, "filters": [filter_by("metadata.env", "prod")]}
    there = [{"metadata.env": None, "total": 5}]

    text = await ask([], question, unfiltered=there, metadata_keys=["team", "environment"])

    assert text.split("\n")[1:] == [
        (
            "no rows in this window (rows are model calls, retries included)"
            ' match metadata.env IN ["prod"]; without the filters 5 do'
        ),
        "# none of the rows here has the metadata key env: did you mean environment?",
        "# next: the same with a metadata key that exists (case-sensitive)",
    ]


async def test_of_two_reasons_the_one_that_can_only_lessen_the_gap_is_no_fact(ask: Ask) -> None:
    rows = [{"team": team, SLUG: "bot", "total": total} for team, total in (("a", 5), ("b", 5))]
    question = {**WEEK, "groupBy": ["team", "virtualaccount"]}

    text = await ask(rows, question, totals={"total": 12})

    assert (
        "than ALL: other callers are not in the rows; callers in several teams, if any, count once"
        " per team\n" in text
    )


async def test_a_gap_with_a_known_reason_is_not_put_down_to_new_data(ask: Ask) -> None:
    rows = [{SLUG: f"u{n}", "total": 500} for n in range(2)]
    question = {"startTs": "now-1d", "groupBy": ["userEmail"]}

    text = await ask(rows, question, totals={"total": 1004})

    assert "other callers are not in the rows" in text
    assert "new data" not in text
