"""`/openapi.json`: a valid document that every body of ours fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.http.openapi import describe_api
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.validation import MOST_ENTRIES
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    OPERATORS,
    RATE_TYPES,
)
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

Serve = Callable[..., Any]
July = Callable[..., dict[str, Any]]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
HOUR: Final = {"type": "timeseries", "interval": "1 hour"}


@pytest.fixture(scope="session")
def document(catalog: Catalog) -> dict[str, Any]:
    return describe_api(catalog, has_tokens=True)


@pytest.fixture(scope="session")
def fits(document: dict[str, Any]) -> Callable[[object], list[str]]:
    """The names of the schemas that a body fits: `oneOf` wants exactly one."""
    schemas = document["components"]["schemas"]
    validators = {
        name: jsonschema_rs.Draft202012Validator(schemas[name], validate_formats=True)
        for choice in read_body_schema(document)["oneOf"]
        for name in [choice["$ref"].rpartition("/")[2]]
    }
    return lambda body: [name for name, schema in validators.items() if schema.is_valid(body)]


def read_body_schema(document: dict[str, Any]) -> dict[str, Any]:
    content = document["paths"][PATH]["post"]["requestBody"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


@pytest.mark.parametrize("has_tokens", [True, False])
async def test_the_served_document_is_made_of_the_catalog(
    serve: Serve,
    book: Any,
    catalog: Catalog,
    has_tokens: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    api = serve(book if has_tokens else None)
    response = await api.client.get("/openapi.json")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == describe_api(catalog, has_tokens=has_tokens)
    assert ("security" in response.json()) is has_tokens
    assert len(response.content) < 100_000


def test_every_schema_in_it_is_one(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": DRAFT, **schema})


def test_there_is_a_schema_for_each_datasource_and_type(
    document: dict[str, Any], catalog: Catalog
) -> None:
    names = {choice["$ref"].rpartition("/")[2] for choice in read_body_schema(document)["oneOf"]}

    assert names == {
        f"{name}_{type_}"
        for name in catalog.datasources
        for type_ in ("distribution", "timeseries")
    }


def test_every_documented_and_generated_body_fits_exactly_one(
    fits: Callable[[object], list[str]],
    bodies: list[dict[str, Any]],
    generated_bodies: list[dict[str, Any]],
) -> None:
    for body in (*bodies, *generated_bodies):
        assert fits(body) == [f"{body['datasource']}_{body['type']}"], body


def enumerated(schema: object) -> set[str]:
    """All that is listed anywhere in a schema."""
    if isinstance(schema, dict):
        own = schema.get("enum", [])
        return {*own}.union(*(enumerated(value) for value in schema.values()))
    if isinstance(schema, list):
        return set().union(*(enumerated(value) for value in schema))
    return set()


def test_fields_operators_and_aggregations_are_enumerated(
    document: dict[str, Any], catalog: Catalog
) -> None:
    schemas = document["components"]["schemas"]
    for name, datasource in catalog.datasources.items():
        listed = enumerated(schemas[f"{name}_timeseries"])
        names = {*datasource.columns, *datasource.group_by, *datasource.filters}
        assert names <= listed
        assert listed <= {
            *names,
            *AGGREGATION_TYPES,
            *OPERATORS,
            *catalog.aliases["columns"],
            *catalog.aliases["groupBy"],
            *catalog.aliases["filters"],
        }
        assert not enumerated(schemas[f"{name}_distribution"]) & RATE_TYPES


@pytest.mark.parametrize(
    "changes",
    [
        {"groupBy": ["modelNmae"]},
        {"groupBy": ["toolName"]},
        {"groupBy": ["team", "team"]},
        {"groupBy": ["metadata."]},
        {"groupBy": "team"},
        {"groupBy": [f"metadata.{number}" for number in range(MOST_ENTRIES + 1)]},
        {"aggregations": [{"type": "rateSum", "column": "inputTokens"}]},
        {"aggregations": [{"type": "sum", "column": "modelName"}]},
        {"aggregations": [{"type": "sum"}]},
        {"aggregations": [{"type": "sum", "column": "inputTokens"}] * 2},
        {"filters": [{"fieldName": "team", "operator": "EQUAL", "value": "x"}]},
        {"filters": [{"fieldName": "modelName", "operator": "IN", "value": "x"}]},
        {"filters": [{"fieldName": "modelName", "operator": "IN", "value": []}]},
        {"filters": [{"fieldName": "modelName", "operator": "EQUAL", "value": ["x"]}]},
        {"filters": [{"fieldName": "modelName", "operator": "EQUAL", "value": "a\0"}]},
        {"filters": [{"fieldName": "latencyMs", "operator": "BETWEEN", "value": [1]}]},
        {"filters": [{"fieldName": "latencyMs", "operator": "LESS_THAN", "value": "1"}]},
        {"filters": [{"fieldName": "latencyMs", "operator": "LESS_THAN"}]},
        {"filters": [{"fieldName": "isFailure", "operator": "EQUAL", "value": "true"}]},
        {"filters": [{"metadataKey": "", "operator": "EQUAL", "value": "x"}]},
        {"filters": [{"operator": "EQUAL", "value": "x"}]},
        {"interval": "1 hour"},
        {"type": "timeseries"},
        {"type": "timeseries", "interval": "0 hours"},
        {"type": "timeseries", "interval": "1 hour 30 minutes"},
        {"type": "timeseries", "intervalInSeconds": 0},
        {"type": "timeseries", "intervalInSeconds": 1.5},
        {"limit": 5},
        {"startTs": None},
        {"datasource": "modelmetrics"},
        {"type": "table"},
    ],
    ids=repr,
)
async def test_what_fits_no_schema_is_refused(
    fits: Callable[[object], list[str]], serve: Serve, july: July, changes: dict[str, Any]
) -> None:
    body = july(**changes)

    assert fits(body) == []
    assert (await serve().post(body)).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"groupBy": ["virtualModelName", "virtualAccount", "metadata.x y"]},
        {"groupBy": None, "aggregations": None, "filters": []},
        {"filters": [{"fieldName": "metadata.x", "operator": "EQUAL", "value": ""}]},
        {"filters": [{"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["x"]}] * 2},
        {"filters": [{"fieldName": "virtualModel", "operator": "IS_NULL", "value": True}]},
        {"filters": [{"fieldName": "latencyMs", "operator": "LESS_THAN", "value": 2**63 - 1}]},
        {"filters": [{"fieldName": "latencyMs", "operator": "LESS_THAN", "value": 1.7e308}]},
        {**HOUR, "aggregations": [{"type": "ratePerMinute", "column": "inputTokens"}]},
        {**HOUR, "intervalInSeconds": "whatever"},
        {**HOUR, "interval": None, "intervalInSeconds": 3600},
        {**HOUR, "interval": "99 years"},
        {**HOUR, "interval": "9999 days"},
    ],
    ids=repr,
)
async def test_what_is_taken_fits_a_schema(
    fits: Callable[[object], list[str]], serve: Serve, july: July, changes: dict[str, Any]
) -> None:
    body = july(**changes)

    assert fits(body) == [f"modelMetrics_{body['type']}"]
    assert (await serve().post(body)).status_code == 200


def test_every_query_of_the_catalog_fits_exactly_one(
    fits: Callable[[object], list[str]], make_example: Callable[[bytes], Any]
) -> None:
    @given(st.binary(min_size=24, max_size=24))
    def fits_one(choices: bytes) -> None:
        body = make_example(choices).query.to_body()
        assert fits(body) == [f"{body['datasource']}_{body['type']}"]

    fits_one()


def test_fields_of_one_s_own_are_in_it(tmp_path: Any) -> None:
    own = tmp_path / "own.json"
    own.write_text(
        '{"datasources": {"mcpMetrics": {"groupBy": {"region": {"tableColumn": "Region"}}}}}'
    )
    document = describe_api(load_catalog(own), has_tokens=False)

    assert "region" in enumerated(document["components"]["schemas"]["mcpMetrics_distribution"])
