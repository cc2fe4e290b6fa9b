"""What a client is told of the tools, and what it costs to tell it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import anyio
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from mcp.client import Client
from mcp_types import Tool, ToolAnnotations

from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Filter, Query
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, OPERATORS
from gateway_metrics_mcp.rendering.catalog import describe_datasources, describe_fields
from gateway_metrics_mcp.rendering.document import estimate_tokens, write_text
from gateway_metrics_mcp.reports.arguments import FORMATS, Format
from gateway_metrics_mcp.server.app import MetricsServer
from gateway_metrics_mcp.server.prompts import read_prompt
from gateway_metrics_mcp.server.tools import TOOLS

MOST_BYTES_OF_TOOLS: Final = 7_000
MOST_BYTES_OF_INSTRUCTIONS: Final = 1_200
MOST_TOKENS_OF_FIELDS: Final = 700
TAKEN_EVERYWHERE: Final = {"type", "description", "enum", "items", "properties", "required"}
"""Keywords of JSON schema that no client is known to refuse."""


@pytest.fixture
def tools(recording: MetricsServer) -> list[Tool]:
    """The tools as a client gets them."""

    async def list_tools() -> list[Tool]:
        async with Client(recording, mode="legacy") as client:
            return (await client.list_tools()).tools

    return anyio.run(list_tools)


def _schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all that stand in it."""
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from _schemas(inner)
    if "items" in schema:
        yield from _schemas(schema["items"])


def _properties(tools: list[Tool], name: str) -> dict[str, Any]:
    (tool,) = (tool for tool in tools if tool.name == name)
    properties: dict[str, Any] = tool.input_schema["properties"]
    return properties


def test_tools_have_all_annotations_and_no_output_schema(tools: list[Tool]) -> None:
    annotations = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )

    assert [
        (tool.name, bool(tool.title), tool.description, tool.annotations, tool.output_schema)
        for tool in tools
    ] == [(name, True, read_prompt(f"tools/{name}"), annotations, None) for name in TOOLS]


def test_every_argument_has_a_description(tools: list[Tool]) -> None:
    assert [
        f"{tool.name}.{name}"
        for tool in tools
        for name, schema in tool.input_schema["properties"].items()
        if not schema.get("description", "").strip()
    ] == []


def test_schemas_are_valid_json_schemas(tools: list[Tool]) -> None:
    for tool in tools:
        Draft202012Validator.check_schema(tool.input_schema)


def test_schemas_use_only_what_every_client_takes(tools: list[Tool]) -> None:
    schemas = [schema for tool in tools for schema in _schemas(tool.input_schema)]

    assert {keyword for schema in schemas for keyword in schema} <= TAKEN_EVERYWHERE
    assert [schema for schema in schemas if not isinstance(schema.get("type"), str)] == []
    assert [s for s in schemas if s["type"] == "array" and "type" not in s.get("items", {})] == []


def test_only_the_start_of_the_window_is_required(tools: list[Tool]) -> None:
    assert {tool.name: tool.input_schema.get("required", []) for tool in tools} == {
        "query_distribution": ["startTs"],
        "query_timeseries": ["startTs"],
        "list_fields": [],
        "list_values": ["field"],
    }


def test_the_arguments_are_the_fields_of_a_query(tools: list[Tool]) -> None:
    ours = {"type", "interval", "findsOne"}  # the tools choose the type, and what is probed
    fields = {field.alias for field in Query.model_fields.values()} - ours
    shown = {"timezone", "format", "limit"}

    assert set(_properties(tools, "query_distribution")) == fields | shown | {
        "orderBy",
        "offset",
        "compareTo",
    }
    assert set(_properties(tools, "query_timeseries")) == fields | shown | {"interval"}


def test_the_enumerations_are_those_of_the_catalog(tools: list[Tool], catalog: Catalog) -> None:
    datasources = list(catalog.datasources)
    for name in TOOLS:
        assert _properties(tools, name)["datasource"]["enum"] == datasources
    for name in ("query_distribution", "query_timeseries"):
        item = _properties(tools, name)["filters"]["items"]
        assert list(item["properties"]) == [field.alias for field in Filter.model_fields.values()]
        assert item["properties"]["operator"]["enum"] == list(OPERATORS)
        assert _properties(tools, name)["format"]["enum"] == list(FORMATS)
    assert tuple(datasources) == DATASOURCES
    assert get_args(Format) == FORMATS


def test_the_published_arguments_pass_their_own_schema(tools: list[Tool]) -> None:
    question = {
        "datasource": "modelMetrics",
        "aggregations": ["sum costInUSD"],
        "groupBy": ["modelName"],
        "filters": [{"fieldName": "modelName", "operator": "IN", "value": ["a", "b"]}],
        "startTs": "last 7 days",
        "limit": 5,
    }
    for tool in tools[:2]:
        Draft202012Validator(tool.input_schema).validate(question)


async def test_tools_and_instructions_stay_within_their_bytes(recording: MetricsServer) -> None:
    async with Client(recording, mode="legacy") as client:
        listed = (await client.list_tools()).model_dump(mode="json", by_alias=True)
        sent = [{k: v for k, v in tool.items() if v is not None} for tool in listed["tools"]]
        instructions = client.instructions or ""

    sizes = {tool["name"]: len(_compact(tool)) for tool in sent}
    tools_size, instructions_size = len(_compact(sent)), len(instructions.encode())
    print(f"tools {tools_size} bytes {sizes}, instructions {instructions_size} bytes")  # noqa: T201
    assert tools_size <= MOST_BYTES_OF_TOOLS
    assert 0 < instructions_size <= MOST_BYTES_OF_INSTRUCTIONS


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_fields_of_a_datasource_take_few_tokens(catalog: Catalog) -> None:
    sizes = {
        str(name): estimate_tokens(write_text(describe_fields(name, catalog)))
        for name in catalog.datasources
    }
    sizes["all of them"] = estimate_tokens(write_text(describe_datasources(catalog)))
    print(f"list_fields, tokens: {sizes}")  # noqa: T201 - for whoever changes the catalog
    assert max(sizes.values()) < MOST_TOKENS_OF_FIELDS


async def test_no_icon_is_sent_as_data(recording: MetricsServer) -> None:
    async with Client(recording) as client:
        listed = await client.list_tools()

        assert client.server_info is not None
        assert client.server_info.icons is None
        assert "data:" not in listed.model_dump_json()
