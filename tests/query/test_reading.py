"""What is no query is refused with every reason and the closest correct spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.vocabulary import DATASOURCES

GOOD: dict[str, Any] = {
    "datasource": "modelMetrics",
    "type": "distribution",
    "startTs": "2026-07-01T00:00:00Z",
    "endTs": "2026-07-02T00:00:00Z",
}
TIMESERIES = {**GOOD, "type": "timeseries", "interval": "1 hour"}


def problems_of(body: object, catalog: Catalog) -> dict[str, str]:
    with pytest.raises(InvalidQueryError) as caught:
        read_query(body, catalog)
    return {problem.place: problem.message for problem in caught.value.problems}


def filtered(**given_filter: Any) -> dict[str, Any]:
    return {**GOOD, "filters": [given_filter]}


def test_every_problem_is_told_at_once(catalog: Catalog) -> None:
    body = {
        **GOOD,
        "datasorce": "modelMetrics",
        "endTs": "2026-07-01T00:00:00",
        "aggregations": [
            {"type": "sum", "column": "cost"},
            {"type": "p99", "column": "modelName"},
            {"type": "rateSum", "column": "inputTokens"},
            {"type": "average", "column": "latencyMs"},
        ],
        "groupBy": ["model", "team", "team"],
        "filters": [
            {"fieldName": "modelNam", "operator": "EQUAL", "value": "x"},
            {"fieldName": "team", "operator": "IN", "value": ["a"]},
            {"fieldName": "latencyMs", "operator": "BETWEEN", "value": [9, 1]},
        ],
        "interval": "1 hour",
    }

    assert list(problems_of(body, catalog)) == [
        "datasorce",
        "endTs",
        "interval",
        "aggregations[0].column",
        "aggregations[1].type",
        "aggregations[2]",
        "aggregations[3].type",
        "groupBy[0]",
        "groupBy[2]",
        "filters[0].fieldName",
        "filters[1].operator",
        "filters[2].value",
    ]


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        ({"datasource": "modelMetric"}, "datasource", "Did you mean modelMetrics"),
        ({"datasource": None}, "datasource", "missing. Allowed: modelMetrics, "),
        ({"type": "distributions"}, "type", "Did you mean distribution?"),
        ({"startTs": None}, "startTs", "missing"),
        ({"startTs": 1_783_000_000}, "startTs", "Give ISO 8601 with an offset"),
        ({"startTs": "2026-07-01"}, "startTs", "not a time with an offset"),
        ({"startTs": "0001-01-01T00:00:00+14:00"}, "startTs", "not a time with an offset"),
        ({"startTs": "1969-12-31T00:00:00Z"}, "startTs", "outside the years 1970 to 2999"),
        ({"endTs": "2026-07-01T00:00:00Z"}, "endTs", "must be after startTs"),
        ({"aggregations": "sum costInUSD"}, "aggregations", "expected a list, got text"),
        ({"aggregations": ["sum"]}, "aggregations[0]", 'expected {"type", "column"}'),
        ({"aggregations": [{"type": "sum"}]}, "aggregations[0].column", "expected a name"),
        (
            {"aggregations": [{"type": "sum", "column": "costInUSD", "as": "x"}]},
            "aggregations[0].as",
            "unknown key. Allowed: type, column",
        ),
        (
            {"aggregations": [{"type": "sum", "column": "cost_in_usd"}]},
            "aggregations[0].column",
            '"cost_in_usd" is not a column of modelMetrics. Did you mean costInUSD?',
        ),
        (
            {"aggregations": [{"type": "sum", "column": "costInUSD"}] * 2},
            "aggregations[1]",
            "appears twice",
        ),
        (
            {"aggregations": [{"type": "countDistinct", "column": "userEmail"}]},
            "aggregations[0].column",
            "userEmail is a group-by field: grouped by it, an answer has one row per value",
        ),
        (
            {
                "datasource": "agentMetrics",
                "aggregations": [{"type": "sum", "column": "costInUSD"}],
            },
            "aggregations[0].column",
            "costInUSD is one of modelMetrics and cacheMetrics. Allowed: latencyMs, agentName",
        ),
        ({"groupBy": ["toolName"]}, "groupBy[0]", "toolName is one of mcpMetrics. Did you mean"),
        ({"groupBy": ["users"]}, "groupBy[0]", "Did you mean userEmail"),
        ({"groupBy": ["createdBySubjectSlug"]}, "groupBy[0]", "Did you mean userEmail"),
        (
            {"groupBy": ["zzz"]},
            "groupBy[0]",
            '"zzz" is not a group-by field of modelMetrics. Did you mean',
        ),
        ({"groupBy": ["metadata."]}, "groupBy[0]", "the key is missing"),
        ({"groupBy": [3]}, "groupBy[0]", "expected a name, got a number"),
        ({"groupBy": ["virtualModel", "virtualModelName"]}, "groupBy[1]", "appears twice"),
        ({"interval": "1 hour"}, "interval", "only a timeseries has buckets"),
        ({"limit": 10}, "limit", "unknown key"),
    ],
)
def test_a_fault_names_its_place_and_what_is_allowed(
    change: dict[str, Any], place: str, says: str, catalog: Catalog
) -> None:
    assert says in problems_of({**GOOD, **change}, catalog)[place]


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ("1 hour 30 minute", "is not an interval"),
        ("0 hour", "is zero"),
        ("-1 hour", "is not an interval"),
        ("1.5 hour", "is not an interval"),
        ("1 fortnight", "unknown unit"),
        ("1 mintue", "Did you mean minute?"),
        ("1h", "is not an interval"),
        ("101 years", "longer than 100 years"),
        ("", "is not an interval"),
        (3600, "is not text"),
        (None, "missing"),
    ],
)
def test_a_bad_interval_is_refused(interval: object, says: str, catalog: Catalog) -> None:
    assert says in problems_of({**TIMESERIES, "interval": interval}, catalog)["interval"]


@pytest.mark.parametrize(
    ("interval", "meant"),
    [
        ("1d", "1 day"),
        ("15m", "15 minute"),
        ("1M", "1 month"),
        ("day", "1 day"),
        ("hourly", "1 hour"),
        ("daily", "1 day"),
        ("30min", "30 minute"),
    ],
)
def test_a_short_form_of_an_interval_is_answered_with_the_long_one(
    interval: str, meant: str, catalog: Catalog
) -> None:
    message = problems_of({**TIMESERIES, "interval": interval}, catalog)["interval"]

    assert f'Did you mean "{meant}"?' in message


@pytest.mark.parametrize(
    ("said", "meant"), [("median", "p50"), ("average", "avg"), ("unique", "countDistinct")]
)
def test_other_words_for_a_function_are_understood_in_the_hint(
    said: str, meant: str, catalog: Catalog
) -> None:
    body = {**GOOD, "aggregations": [{"type": said, "column": "latencyMs"}]}
    message = problems_of(body, catalog)["aggregations[0].type"]

    assert f"Did you mean {meant}" in message
    assert "rateSum" not in message


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "60", True, 10**12, 10**400])
def test_bad_seconds_are_refused(seconds: object, catalog: Catalog) -> None:
    body = {**TIMESERIES, "interval": None, "intervalInSeconds": seconds}

    assert "second" in problems_of(body, catalog)["intervalInSeconds"]


@pytest.mark.parametrize(
    ("filter_", "place", "says"),
    [
        ({"fieldName": "modelName", "value": "x"}, "operator", "missing"),
        ({"fieldName": "modelName", "operator": "EQUALS", "value": "x"}, "operator", "EQUAL"),
        ({"fieldName": "modelName", "operator": "EQUAL"}, "value", "missing"),
        ({"fieldName": "modelName", "operator": "EQUAL", "value": 5}, "value", "expected text"),
        ({"fieldName": "modelName", "operator": "EQUAL", "value": ["a"]}, "value", "use IN"),
        ({"fieldName": "modelName", "operator": "IN", "value": "a"}, "value", "takes a list"),
        ({"fieldName": "modelName", "operator": "IN", "value": []}, "value", "at least one"),
        ({"fieldName": "modelName", "operator": "IN", "value": [1]}, "value[0]", "expected text"),
        ({"fieldName": "modelName", "operator": "IS_NULL", "value": True}, "operator", "not allow"),
        ({"fieldName": "virtualModelName", "operator": "IS_NULL", "value": 1}, "value", "true (is"),
        ({"fieldName": "latencyMs", "operator": "LESS_THAN", "value": "5"}, "value", "a finite"),
        ({"fieldName": "latencyMs", "operator": "LESS_THAN", "value": True}, "value", "a finite"),
        (
            {"fieldName": "latencyMs", "operator": "LESS_THAN", "value": float("nan")},
            "value",
            "of at most 64 bits, got nan",
        ),
        ({"fieldName": "latencyMs", "operator": "BETWEEN", "value": [1]}, "value", "list of two"),
        ({"fieldName": "latencyMs", "operator": "BETWEEN", "value": [2, 1]}, "value", "above high"),
        (
            {"fieldName": "isFailure", "operator": "EQUAL", "value": "true"},
            "value",
            "true or false",
        ),
        ({"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": "a"}, "value", "takes a list"),
        ({"fieldName": "traceId", "operator": "IN", "value": ["a"]}, "operator", "Allowed: EQUAL"),
        ({"metadataKey": "", "operator": "EQUAL", "value": "x"}, "metadataKey", "name of a"),
        ({"fieldName": "metadata.", "operator": "EQUAL", "value": "x"}, "fieldName", "a name"),
        ({"field": "modelName", "operator": "EQUAL", "value": "x"}, "field", "fieldName"),
        (
            {"fieldName": "modelName", "operator": "EQUAL", "value": "\ud800"},
            "value",
            "expected text",
        ),
    ],
)
def test_a_bad_filter_is_refused(
    filter_: dict[str, Any], place: str, says: str, catalog: Catalog
) -> None:
    assert says in problems_of(filtered(**filter_), catalog)[f"filters[0].{place}"]


def test_a_filter_names_its_field_once(catalog: Catalog) -> None:
    both = filtered(fieldName="modelName", metadataKey="x", operator="EQUAL", value="y")

    assert "one of the two" in problems_of(both, catalog)["filters[0]"]


def test_operators_of_the_older_documentation_are_accepted(catalog: Catalog) -> None:
    body = filtered(fieldName="modelName", operator="BETWEEN", value=["a", "z"])

    assert read_query(body, catalog).filters[0].value == ("a", "z")


def test_rates_need_a_timeseries(catalog: Catalog) -> None:
    rate = {"aggregations": [{"type": "ratePerMinute", "column": "inputTokens"}]}

    assert "needs a timeseries" in problems_of({**GOOD, **rate}, catalog)["aggregations[0]"]
    assert read_query({**TIMESERIES, **rate}, catalog).has_rates


def test_at_most_three_near_names_are_offered_and_none_that_are_not_near(catalog: Catalog) -> None:
    message = problems_of({**GOOD, "groupBy": ["provider"]}, catalog)["groupBy[0]"]
    hint = message[message.index("Did you mean") : message.index("?")]

    assert hint == "Did you mean providerAccountType or providerModelName"


def test_fields_the_catalog_lacks_pass_where_that_is_allowed(catalog: Catalog) -> None:
    body = {
        **GOOD,
        "groupBy": ["region"],
        "aggregations": [{"type": "sum", "column": "totalTokens"}],
        "filters": [{"fieldName": "region", "operator": "IN", "value": ["eu"]}],
    }

    assert read_query(body, catalog, allow_unknown=True).to_body() == {
        **body,
        "startTs": "2026-07-01T00:00:00.000Z",
        "endTs": "2026-07-02T00:00:00.000Z",
    }
    assert set(problems_of(body, catalog)) == {
        "groupBy[0]",
        "aggregations[0].column",
        "filters[0].fieldName",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "datasource": JSON | st.sampled_from(DATASOURCES),
            "type": JSON | st.just("timeseries"),
            "startTs": JSON | st.just("2026-07-01T00:00:00Z"),
            "endTs": JSON,
            "aggregations": JSON | st.lists(st.fixed_dictionaries({"type": JSON, "column": JSON})),
            "groupBy": JSON | st.lists(JSON),
            "filters": JSON
            | st.lists(
                st.fixed_dictionaries({"fieldName": JSON, "operator": JSON, "value": JSON})
                | st.fixed_dictionaries({"metadataKey": JSON, "operator": JSON, "value": JSON})
            ),
            "interval": JSON,
            "intervalInSeconds": JSON,
        },
    )
    | JSON
)
def test_whatever_is_sent_is_a_query_or_a_list_of_problems(body: object) -> None:
    from gateway_metrics_mcp.query.catalog import load_catalog

    try:
        read_query(body, load_catalog())
    except InvalidQueryError as error:
        assert error.problems  # noqa: PT017 - either outcome is right, this one must have reasons
