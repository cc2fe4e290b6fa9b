"""What the server writes on stdio, held to the protocol's own JSON schema of each version."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

HERE: Final = Path(__file__).parent
STATELESS: Final = "2026-07-28"
VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS)
CLIENT: Final = {"name": "test", "version": "1"}
WINDOW: Final = {"startTs": "2026-03-01", "endTs": "2026-03-03"}
REQUESTS: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("tools/list", {}, "ListToolsResult"),
    ("prompts/list", {}, "ListPromptsResult"),
    ("resources/list", {}, "ListResourcesResult"),
    ("resources/templates/list", {}, "ListResourceTemplatesResult"),
    (
        "tools/call",
        {"name": "query_distribution", "arguments": {**WINDOW, "groupBy": ["modelName"]}},
        "CallToolResult",
    ),
    (
        "tools/call",
        {"name": "query_timeseries", "arguments": {**WINDOW, "interval": "1 day"}},
        "CallToolResult",
    ),
    ("tools/call", {"name": "list_fields", "arguments": {}}, "CallToolResult"),
    (
        "tools/call",
        {"name": "list_values", "arguments": {**WINDOW, "field": "modelName"}},
        "CallToolResult",
    ),
    ("tools/call", {"name": "query_distribution", "arguments": {"x": 1}}, "CallToolResult"),
    ("tools/call", {"name": "nothing", "arguments": {}}, "CallToolResult"),
]
REFUSED: Final[list[tuple[str, dict[str, Any]]]] = [
    ("nothing/such", {}),
    ("tools/call", {}),
    ("resources/read", {"uri": "file:///etc/passwd"}),
]


class Schema:
    """The protocol's JSON schema of a version."""

    def __init__(self, version: str) -> None:
        packed = (HERE / "schemas" / f"{version}.json.gz").read_bytes()
        whole: dict[str, Any] = json.loads(gzip.decompress(packed))
        self._place = "$defs" if "$defs" in whole else "definitions"
        self._types = whole[self._place]
        self._validator = Draft202012Validator if self._place == "$defs" else Draft7Validator

    def faults(self, value: object, *names: str) -> list[str]:
        """What is wrong with a value as one of these types, of which the first there is counts."""
        name = next(name for name in names if name in self._types)
        schema = {"$ref": f"#/{self._place}/{name}", self._place: self._types}
        return [
            f"{name}: {error.json_path}: {error.message[:200]}"
            for error in self._validator(schema).iter_errors(value)
        ]

    def faults_of_reply(self, reply: dict[str, Any], kind: str) -> list[str]:
        """What is wrong with a reply whose result is to be of a kind."""
        return [
            *self.faults(reply, "JSONRPCMessage"),
            *self.faults(reply, "JSONRPCResultResponse", "JSONRPCResponse"),
            *self.faults(reply.get("result"), kind),
        ]


def _converse(command: list[str], environment: dict[str, str], version: str) -> list[Any]:
    """The replies to the opening, every request and every refused one, in their order."""
    opening: list[tuple[str, dict[str, Any]]] = [("server/discover", {}), ("tools/list", {})]
    meta = {}
    if version == STATELESS:
        prefix = "io.modelcontextprotocol"
        meta = {"_meta": {f"{prefix}/protocolVersion": version, f"{prefix}/clientInfo": CLIENT}}
        meta["_meta"][f"{prefix}/clientCapabilities"] = {}
    else:
        fields = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        opening = [("initialize", fields), ("ping", {})]
    asked = [*opening, *((method, params) for method, params, _ in REQUESTS), *REFUSED]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        replies = []
        for number, (method, params) in enumerate(asked):
            request = {"jsonrpc": "2.0", "id": number, "method": method}
            print(json.dumps({**request, "params": {**params, **meta}}), file=process.stdin)
            if method == "ping":
                notice = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                print(json.dumps(notice), file=process.stdin)
            process.stdin.flush()
            replies.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        rest = process.stdout.read()
    assert rest == ""
    assert [reply["id"] for reply in replies] == list(range(len(asked)))
    return replies


@pytest.mark.parametrize("version", VERSIONS)
def test_every_reply_on_stdio_is_what_the_protocol_says(
    command: list[str], environment: dict[str, str], version: str
) -> None:
    schema = Schema(version)
    kinds = ["DiscoverResult", "ListToolsResult"]
    if version != STATELESS:
        kinds = ["InitializeResult", "EmptyResult"]
    kinds += [kind for _, _, kind in REQUESTS]

    replies = _converse(command, environment, version)

    answered, refused = replies[: len(kinds)], replies[len(kinds) :]
    for reply, kind in zip(answered, kinds, strict=True):
        assert schema.faults_of_reply(reply, kind) == []
    for reply in refused:
        assert schema.faults(reply, "JSONRPCMessage") == []
        assert schema.faults(reply, "JSONRPCErrorResponse", "JSONRPCError") == []
    if version != STATELESS:
        assert answered[0]["result"]["protocolVersion"] == version


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_refuses_replies_that_are_wrong(version: str) -> None:
    schema = Schema(version)
    good: dict[str, Any] = {"content": [{"type": "text", "text": "x"}], "isError": False}
    good |= {"resultType": "complete"} if version == STATELESS else {}

    def faults(**result: object) -> list[str]:
        reply = {"jsonrpc": "2.0", "id": 1, "result": {**good, **result}}
        return schema.faults_of_reply(reply, "CallToolResult")

    assert faults() == []
    assert faults(content="x") != []
    assert faults(content=[{"type": "text"}]) != []
    assert faults(isError="no") != []
    assert schema.faults({"id": 1, "error": {}}, "JSONRPCErrorResponse", "JSONRPCError") != []
