"""A lint of the published schemas for what strict clients refuse.

Gemini takes no references, unions, formats or types in lists; OpenAI in its strict mode and VS
Code want every array's items typed and every value described; each wants plain names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from mcp.client import Client

from gateway_metrics_mcp.server.app import MetricsServer

NAME: Final = re.compile(r"[a-z0-9_]{1,60}")
ARGUMENT: Final = re.compile(r"[A-Za-z0-9_]{1,60}")
TYPES: Final = ("string", "integer", "number", "boolean", "array", "object")
TAKEN: Final = ("type", "description", "enum", "items", "properties", "required")
DEEPEST: Final = 5
"""Levels of nesting: OpenAI's limit."""


def lint(tool: Mapping[str, Any]) -> list[str]:
    """What a strict client would refuse of a tool as `tools/list` shows it."""
    findings = []
    if not NAME.fullmatch(tool["name"]):
        findings.append("name: not one of a-z, 0-9 and _, or longer than 60")
    if not (tool.get("description") or "").strip():
        findings.append("description: missing")
    if "outputSchema" in tool:
        findings.append("outputSchema: answers are text")
    root = tool["inputSchema"]
    if not isinstance(root, dict) or root.get("type") != "object" or "properties" not in root:
        return [*findings, "inputSchema: no object with properties"]
    return [*findings, *_lint_schema(root, "inputSchema", 1)]


def _lint_schema(schema: object, path: str, depth: int) -> Iterator[str]:
    if not isinstance(schema, dict) or not schema:
        yield f"{path}: empty, or no object"
        return
    yield from (f"{path}: keyword {keyword}" for keyword in schema if keyword not in TAKEN)
    if schema.get("type") not in TYPES:
        yield f"{path}: type is no single name"
    if depth > DEEPEST:
        yield f"{path}: nested too deep"
    yield from _lint_choice(schema, path)
    if schema.get("type") == "array":
        yield from _lint_schema(schema.get("items"), f"{path}.items", depth + 1)
    if schema.get("type") == "object":
        yield from _lint_properties(schema, path, depth)


def _lint_choice(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "enum" not in schema:
        return
    values = schema["enum"]
    if schema.get("type") != "string" or not values:
        yield f"{path}: enum of something else than strings, or empty"
    if any(not isinstance(value, str) or not value for value in values):
        yield f"{path}: enum value is no string, or empty"
    if len(set(map(str, values))) < len(values):
        yield f"{path}: enum value twice"


def _lint_properties(schema: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        yield f"{path}: an object without properties"
        return
    yield from (
        f"{path}: requires {name}, which is none of its properties"
        for name in schema.get("required", ())
        if name not in properties
    )
    for name, inner in properties.items():
        where = f"{path}.{name}"
        if not ARGUMENT.fullmatch(name):
            yield f"{where}: a name that is not plain"
        if not isinstance(inner, dict) or not str(inner.get("description", "")).strip():
            yield f"{where}: no description"
        yield from _lint_schema(inner, where, depth + 1)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_no_strict_client_would_refuse_a_tool(recording: MetricsServer, mode: str) -> None:
    async with Client(recording, mode=mode) as client:
        listed = await client.list_tools()
    tools = listed.model_dump(mode="json", by_alias=True, exclude_none=True)["tools"]

    assert tools != []
    assert {tool["name"]: lint(tool) for tool in tools} == {tool["name"]: [] for tool in tools}


def _tool(**changes: Any) -> dict[str, Any]:
    """A tool that every client takes, but for the changes."""
    schema = {
        "type": "object",
        "properties": {"field": {"type": "string", "description": "a field"}},
        "required": ["field"],
    }
    return {"name": "ask", "description": "Asks.", "inputSchema": schema, **changes}


def _argument(**schema: Any) -> dict[str, Any]:
    """A tool with one argument of this schema."""
    described = {"description": "an argument", **schema}
    return _tool(inputSchema={"type": "object", "properties": {"argument": described}})


def _nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return inner


def test_a_plain_tool_passes() -> None:
    assert lint(_tool()) == []
    assert lint(_argument(type="string", enum=["a", "b"])) == []
    assert lint(_argument(type="array", items={"type": "string"})) == []
    assert lint(_argument(**_nested(DEEPEST - 2))) == []


REFUSED: Final[dict[str, dict[str, Any]]] = {
    "a name with capitals": _tool(name="askNow"),
    "a name with a dot": _tool(name="ask.now"),
    "a long name": _tool(name="a" * 61),
    "no description": _tool(description=" "),
    "an output schema": _tool(outputSchema={"type": "object"}),
    "no properties": _tool(inputSchema={"type": "object"}),
    "a root that is no object": _tool(inputSchema={"type": "string"}),
    "a root that is a boolean": _tool(inputSchema=True),
    "additionalProperties": _tool(
        inputSchema={**_tool()["inputSchema"], "additionalProperties": False}
    ),
    "definitions": _tool(inputSchema={**_tool()["inputSchema"], "$defs": {}}),
    "a required name that is not there": _tool(
        inputSchema={**_tool()["inputSchema"], "required": ["other"]}
    ),
    "a reference": _argument(**{"$ref": "#/$defs/Kind"}),
    "anyOf": _argument(anyOf=[{"type": "string"}, {"type": "null"}]),
    "oneOf beside a type": _argument(type="string", oneOf=[{"type": "string"}]),
    "a null type": _argument(type="null"),
    "types in a list": _argument(type=["string", "null"]),
    "no type": _argument(),
    "a format": _argument(type="string", format="date-time"),
    "a default": _argument(type="string", default=None),
    "an array without items": _argument(type="array"),
    "an array of anything": _argument(type="array", items={}),
    "an array of untyped items": _argument(type="array", items={"description": "any"}),
    "a tuple": _argument(type="array", prefixItems=[{"type": "string"}]),
    "an object without properties": _argument(type="object"),
    "an enumeration of numbers": _argument(type="integer", enum=[1, 2]),
    "a number among strings": _argument(type="string", enum=["a", 1]),
    "an empty enumeration": _argument(type="string", enum=[]),
    "an empty string to choose": _argument(type="string", enum=[""]),
    "a choice twice": _argument(type="string", enum=["a", "a"]),
    "a nested value without description": _argument(
        type="object", properties={"inner": {"type": "string"}}
    ),
    "an argument without description": _argument(type="string", description=""),
    "an argument with a dot": _tool(
        inputSchema={
            "type": "object",
            "properties": {"a.b": {"type": "string", "description": "a"}},
        }
    ),
    "deep nesting": _argument(**_nested(DEEPEST - 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_client_would_refuse_is_found(name: str) -> None:
    assert len(lint(REFUSED[name])) >= 1
