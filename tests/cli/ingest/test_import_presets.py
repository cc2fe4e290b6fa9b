"""Known origins come in without a mapping: LiteLLM's spend logs and OpenTelemetry's spans."""

from __future__ import annotations

import csv as csv_writer
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]

SPENT: Final[dict[str, Any]] = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "spend": 0.00345,
    "total_tokens": 130,
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "startTime": "2026-07-10 12:00:00.25",
    "endTime": "2026-07-10 12:00:01.75",
    "completionStartTime": "2026-07-10 12:00:00.75",
    "model": "gpt-4o-2024-08-06",
    "model_id": "deployment-1",
    "model_group": "gpt-4o",
    "custom_llm_provider": "openai",
    "user": "someone@example.com",
    "metadata": {
        "user_api_key_alias": "batch",
        "user_api_key_team_alias": "search",
        "status": "success",
        "spend_logs_metadata": {"environment": "production"},
        "additional_usage_values": {"prompt_tokens_details": {"cached_tokens": 64}},
    },
    "cache_hit": "False",
    "cache_key": "Cache OFF",
    "request_tags": ["nightly"],
    "team_id": "team-1",
    "end_user": "",
    "messages": {"role": "user", "content": "not to be kept"},
    "session_id": "session-1",
    "status": "success",
}
FAILED: Final = SPENT | {
    "request_id": "chatcmpl-2",
    "spend": 0.0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "completionStartTime": "2026-07-10 12:00:01.75",
    "user": "",
    "metadata": {
        "user_api_key_alias": "batch",
        "status": "failure",
        "error_information": {"error_code": "429", "error_class": "RateLimitError"},
    },
    "team_id": None,
    "request_tags": [],
    "cache_hit": "True",
    "cache_key": "k",
    "status": "failure",
}
TOOL: Final = SPENT | {"request_id": "tool", "call_type": "call_mcp_tool"}


def write_spend_logs(path: Path) -> Path:
    rows = [SPENT, FAILED, TOOL]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    if path.suffix == ".jsonl":
        path.write_text(lines)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv_writer.DictWriter(stream, SPENT)
            writer.writeheader()
            for row in rows:
                nested = {k: json.dumps(v) for k, v in row.items() if isinstance(v, dict | list)}
                writer.writerow(row | nested)
    else:
        with duckdb.connect() as engine:
            path.with_suffix(".tmp").write_text(lines)
            engine.read_json(str(path.with_suffix(".tmp"))).write_parquet(str(path))
    return path


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
async def test_litellm_spend_logs_come_in(
    data: Data, tmp_path: Path, ask: Ask, format_: str
) -> None:
    path = write_spend_logs(tmp_path / f"spend.{format_}")

    done = data.bring(path, "--preset", "litellm")

    assert "3 rows read, 2 new, 0 refused, 1 left out (calls of MCP tools)" in done.out
    assert data.rows('"SpanId", "ModelName", "RequestedModelName", "ProviderAccountType"') == [
        ("chatcmpl-1", "gpt-4o-2024-08-06", "gpt-4o", "openai"),
        ("chatcmpl-2", "gpt-4o-2024-08-06", "gpt-4o", "openai"),
    ]
    assert data.rows('"CreatedAt"::VARCHAR, "LatencyMs", "TimeToFirstTokenMs"') == [
        ("2026-07-10 12:00:00.25+00", 1500.0, 500.0),
        ("2026-07-10 12:00:00.25+00", 1500.0, None),
    ]
    assert data.rows('"IsFailure", "HttpStatusCode", "ErrorType", "CacheLookupStatus"') == [
        (False, 200, None, None),
        (True, 429, "RateLimitError", "hit"),
    ]
    assert data.rows('"CreatedBySubjectSlug", "CreatedBySubjectType", "Teams"') == [
        ("someone@example.com", "user", ["search"]),
        ("batch", "virtualaccount", []),
    ]
    assert data.rows('"CacheReadInputTokens", "ConversationId"')[0] == (64, "session-1")
    tagged = {"key_alias": "batch", "request_tags": '["nightly"]', "environment": "production"}
    assert [
        {key: value.replace(" ", "") for key, value in metadata.items()}
        for (metadata,) in data.rows('"Metadata"')
    ] == [tagged, {"key_alias": "batch"}]
    assert await ask("userEmail") == {("someone@example.com",): (1, 100, 30, 0.00345)}
    assert await ask("virtualaccount") == {("batch",): (1, 0, 0, 0.0)}


def test_a_refused_spend_log_keeps_no_prompt(data: Data, jsonl: Write) -> None:
    data.bring(jsonl([SPENT, SPENT | {"prompt_tokens": "many"}]), "--preset", "litellm")

    (refused,) = data.path.rglob("_refused.jsonl")
    assert "many" in refused.read_text()
    assert "not to be kept" not in refused.read_text()


def attribute(key: str, value: object) -> dict[str, Any]:
    kind = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    shown = str(value) if type(value) is int else value
    return {"key": key, "value": {kind[type(value)]: shown}}


def otlp_line(*spans: dict[str, Any], service: str = "shop") -> dict[str, Any]:
    resource = [
        attribute("service.name", service),
        attribute("deployment.environment.name", "production"),
    ]
    scope = {"scope": {"name": "instrumentation"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scope]}]}


def otlp_span(**attributes: object) -> dict[str, Any]:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": f"eee19b7ec3c1b{len(named):03}",
        "startTimeUnixNano": "1783684800123456789",
        "endTimeUnixNano": "1783684801623456789",
        "attributes": [attribute(name, value) for name, value in named.items()],
        "status": {},
    }


CALL: Final[dict[str, Any]] = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "openai",
    "gen_ai__request__model": "gpt-4o",
    "gen_ai__response__model": "gpt-4o-2024-08-06",
    "gen_ai__usage__input_tokens": 100,
    "gen_ai__usage__output_tokens": 30,
    "gen_ai__usage__cache_read__input_tokens": 64,
    "gen_ai__conversation__id": "conv-1",
    "gen_ai__request__stream": True,
    "gen_ai__response__time_to_first_chunk": 0.5,
}


async def test_spans_of_an_otlp_export_come_in(data: Data, jsonl: Write, ask: Ask) -> None:
    lines = [
        otlp_line(
            otlp_span(**CALL),
            otlp_span(gen_ai__operation__name="invoke_agent", gen_ai__request__model="gpt-4o"),
            otlp_span(http__request__method="POST"),
        ),
        otlp_line(otlp_span(gen_ai__request__model="o3", error__type="429"), service="other"),
    ]

    done = data.bring(jsonl(lines), "--preset", "otel-genai")

    left_out = "2 left out (spans that are no model call)"
    assert f"4 rows read, 2 new, 0 refused, {left_out}" in done.out
    values = '"CreatedAt"::VARCHAR, "LatencyMs", "TimeToFirstTokenMs", "Streaming"'
    assert data.rows(values)[1] == ("2026-07-10 12:00:00.123456+00", 1500.0, 500.0, True)
    assert data.rows('"ModelName", "ProviderModelName", "IsFailure", "HttpStatusCode"') == [
        ("o3", None, True, 429),
        ("gpt-4o", "gpt-4o-2024-08-06", False, None),
    ]
    assert data.rows('"CacheReadInputTokens", "ConversationId", "ProviderAccountType"')[1] == (
        64,
        "conv-1",
        "openai",
    )
    assert await ask("modelName", "metadata.environment", "virtualaccount") == {
        ("gpt-4o", "production", "shop"): (1, 100, 30, None),
        ("o3", "production", "other"): (1, None, None, None),
    }


def test_spans_of_one_line_each_come_in(data: Data, jsonl: Write) -> None:
    lines: list[object] = [
        {
            "name": "chat o3",
            "context": {"trace_id": "0xaa", "span_id": "0x01"},
            "start_time": "2026-07-10T12:00:00.000000Z",
            "end_time": "2026-07-10T12:00:02Z",
            "status": {"status_code": "ERROR"},
            "attributes": {
                "gen_ai.system": "openai",
                "gen_ai.request.model": "o3",
                "gen_ai.usage.prompt_tokens": 7,
                "user.id": "u1",
            },
            "resource": {"attributes": {"service.name": "shop"}},
        },
        {
            "trace_id": "bb",
            "span_id": "02",
            "start_time_unix_nano": 1783684800000000000,
            "end_time_unix_nano": 1783684800250000000,
            "gen_ai.request.model": "flat",
            "gen_ai.usage.output_tokens": 3,
        },
        ["no span"],
    ]

    done = data.bring(jsonl(lines), "--preset", "otel-genai")

    assert "1 refused: the line is not a JSON object" in done.out
    columns = '"TraceId", "SpanId", "ModelName", "InputTokens", "OutputTokens", "LatencyMs"'
    assert data.rows(columns) == [
        ("aa", "01", "o3", 7, None, 2000.0),
        ("bb", "02", "flat", None, 3, 250.0),
    ]
    assert data.rows('"IsFailure", "CreatedBySubjectSlug", "CreatedBySubjectType", "Metadata"') == [
        (True, "u1", "user", {"service_name": "shop"}),
        (False, "imported", "virtualaccount", {}),
    ]


def test_a_wish_goes_before_the_preset(data: Data, jsonl: Write) -> None:
    wishes = ("--map", "ModelName=model_group", "--set", "CreatedBySubjectSlug=all")

    assert data.bring(jsonl([SPENT]), "--preset", "litellm", *wishes).code == 0
    assert data.rows('"ModelName", "CreatedBySubjectSlug"') == [("gpt-4o", "all")]
