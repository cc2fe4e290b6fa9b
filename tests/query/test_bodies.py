"""Bodies and queries stand for each other."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES, OPERATORS

HERE = Path(__file__).parent
EXAMPLES = json.loads((HERE / "examples.json").read_text("utf-8"))
GENERATED = json.loads((HERE / "generated_bodies.json").read_text("utf-8"))


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """A body with the spellings that mean the same made the same."""
    seconds = body.get("intervalInSeconds")
    units = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
    interval = body.get("interval")
    if interval is not None:
        count, unit = interval.split()
        unit = unit.rstrip("s")
        interval = int(count) * units[unit] if unit in units else f"{count} {unit}"
    return {
        "startTs": datetime.fromisoformat(body["startTs"]),
        "endTs": datetime.fromisoformat(body["endTs"]),
        "datasource": body["datasource"],
        "type": body["type"],
        "aggregations": body.get("aggregations", []),
        "groupBy": body.get("groupBy", []),
        "filters": body.get("filters", []),
        "interval": interval if interval is not None else seconds,
    }


@pytest.mark.parametrize("body", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_documented_body_means_the_same_after_reading(
    body: dict[str, Any], catalog: Catalog
) -> None:
    assert meaning(read_query(body, catalog).to_body()) == meaning(body)


def test_all_documented_bodies_are_there() -> None:
    assert len(EXAMPLES) == 39


def test_every_generated_body_means_the_same_after_reading(catalog: Catalog) -> None:
    for body in GENERATED:
        assert meaning(read_query(body, catalog).to_body()) == meaning(body)


def test_the_generated_bodies_are_those_of_the_catalog(catalog: Catalog) -> None:
    namespace: dict[str, Any] = {"__name__": "generation", "__file__": __file__}
    exec((HERE / "body_generation.py").read_text("utf-8"), namespace)  # noqa: S102 - our own file

    assert json.loads(json.dumps(namespace["generate_bodies"](catalog))) == GENERATED


def test_the_generated_bodies_use_every_aggregation_and_operator() -> None:
    types = {a["type"] for body in GENERATED for a in body.get("aggregations", ())}
    operators = {f["operator"] for body in GENERATED for f in body.get("filters", ())}

    assert types == set(AGGREGATION_TYPES)
    assert operators == set(OPERATORS)


def test_a_query_read_from_its_own_body_is_the_same_query(
    queries: st.SearchStrategy[Query], catalog: Catalog
) -> None:
    @given(queries)
    def identity(query: Query) -> None:
        assert read_query(json.loads(json.dumps(query.to_body())), catalog) == query

    identity()


def test_r25_a_timeseries_sends_both_bucket_parameters_up_to_weeks(catalog: Catalog) -> None:
    body = {
        "datasource": "modelMetrics",
        "type": "timeseries",
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-07-02T00:00:00Z",
    }

    week = read_query({**body, "interval": "1 week"}, catalog).to_body()
    month = read_query({**body, "interval": "2 months"}, catalog).to_body()

    assert (week["interval"], week["intervalInSeconds"]) == ("1 week", 604_800)
    assert (month["interval"], "intervalInSeconds" in month) == ("2 month", False)


def test_the_interval_wins_over_its_deprecated_form(catalog: Catalog) -> None:
    body = {**GENERATED[0], "type": "timeseries", "interval": "1 day", "intervalInSeconds": 60}

    assert read_query(body, catalog).to_body()["interval"] == "1 day"


@pytest.mark.parametrize(
    ("place", "given_name", "sent"),
    [
        ("groupBy", "virtualModelName", "virtualModel"),
        ("groupBy", "virtualModel", "virtualModel"),
        ("groupBy", "virtualAccount", "virtualaccount"),
        ("groupBy", "virtualaccount", "virtualaccount"),
        ("filters", "virtualModel", "virtualModelName"),
        ("filters", "virtualModelName", "virtualModelName"),
        ("filters", "virtualaccount", "virtualAccount"),
        ("filters", "virtualAccount", "virtualAccount"),
        ("aggregations", "virtualModelName", "virtualModel"),
        ("aggregations", "virtualModel", "virtualModel"),
    ],
)
def test_double_names_are_taken_and_sent_in_the_right_spelling(
    place: str, given_name: str, sent: str, catalog: Catalog
) -> None:
    def entry(name: str) -> Any:
        if place == "groupBy":
            return name
        if place == "filters":
            return {"fieldName": name, "operator": "EQUAL", "value": "x"}
        return {"type": "count", "column": name}

    body = {**GENERATED[0], place: [entry(given_name)]}

    assert read_query(body, catalog).to_body()[place] == [entry(sent)]
