"""Each call counts once, whatever tells of it how often: its newest values are those that count."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]

LITELLM: Final = ("--preset", "litellm")
SPANS: Final = ("--preset", "otel-genai")
IDS: Final = ("--map", "TraceId=id,SpanId=id")
EXAMPLES: Final = settings().max_examples if settings().max_examples >= 500 else 10
"""Each is some whole imports."""


def spend(number: int, day: int = 10, **more: Any) -> dict[str, Any]:
    """A row of LiteLLM's table, as its export has it."""
    return {
        "request_id": f"call-{number}",
        "call_type": "acompletion",
        "startTime": f"2026-07-{day:02} 10:00:{number % 60:02}",
        "model": "m",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "spend": None,
        "status": "success",
    } | more


def line_of(text: str) -> str:
    return next(line for line in text.splitlines() if "rows read" in line)


# --- tables that are exported again while they grow ---


async def test_nightly_exports_of_a_growing_table_give_each_call_once(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    table = [spend(1, 9), spend(2, 9), spend(3, 10)]
    monday = data.bring(jsonl(table, "monday.jsonl"), *LITELLM)
    table = [spend(1, 9, spend=0.5), *table[1:], spend(4, 10), spend(5, 11, spend=0.25)]
    tuesday = data.bring(jsonl(table, "tuesday.jsonl"), *LITELLM)
    table[1]["spend"] = 0.125
    wednesday = data.bring(jsonl(table, "wednesday.jsonl"), *LITELLM)

    assert line_of(monday.out).endswith("3 rows read, 3 new, 0 refused")
    assert "5 rows read, 2 new, 2 known already, 1 replaced" in tuesday.out
    assert "5 rows read, 0 new, 4 known already, 1 replaced" in wednesday.out
    assert await ask() == {(): (5, 50, 5, 0.875)}


async def test_a_row_that_lacks_what_is_known_adds_nothing(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    data.bring(jsonl([spend(1, spend=0.5, user="ada@example.com")], "a.jsonl"), *LITELLM)

    done = data.bring(jsonl([spend(1)], "b.jsonl"), *LITELLM)

    assert "1 rows read, 0 new, 1 known already, 0 replaced" in done.out
    assert done.out.endswith("no new rows, so nothing was written\n")
    assert await ask("userEmail") == {("ada@example.com",): (1, 10, 1, 0.5)}


async def test_a_newer_row_keeps_what_only_the_older_one_knows(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    data.bring(jsonl([spend(1, user="ada@example.com")], "a.jsonl"), *LITELLM)

    data.bring(jsonl([spend(1, spend=0.5, prompt_tokens=12)], "b.jsonl"), *LITELLM)

    assert await ask("userEmail") == {("ada@example.com",): (1, 12, 1, 0.5)}


async def test_a_success_keeps_no_error_of_the_failure_before_it(data: Data, jsonl: Write) -> None:
    failure = {"error_information": {"error_code": "429", "error_class": "RateLimitError"}}
    failed = spend(1, status="failure", metadata=failure)
    data.bring(jsonl([failed], "a.jsonl"), *LITELLM)

    data.bring(jsonl([spend(1)], "b.jsonl"), *LITELLM)

    columns = '"IsFailure", "ErrorType", "HttpStatusCode"'
    assert data.rows(columns) == [(False, None, 200)]


async def test_a_call_that_moves_to_another_day_counts_there_alone(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    others = [spend(2, 10), spend(3, 11)]
    late = spend(1, startTime="2026-07-10 23:59:59")
    data.bring(jsonl([late, *others], "a.jsonl"), *LITELLM)

    data.bring(jsonl([spend(1, startTime="2026-07-11 00:00:01")], "b.jsonl"), *LITELLM)

    days = await ask(type="timeseries", interval="1 day")
    assert [values[0] for values in days.values() if values[0]] == [1, 2]


@pytest.mark.parametrize("flags", [LITELLM, ("--preset", "litellm", "--replace")])
async def test_files_of_one_command_may_overlap(
    data: Data, jsonl: Write, ask: Ask, flags: Sequence[str]
) -> None:
    first = jsonl([spend(1), spend(2, spend=0.5), spend(1, spend=0.25)], "a.jsonl")
    second = jsonl([spend(2), spend(3)], "b.jsonl")

    done = data.bring(first, second, *flags)

    assert "5 rows read, 3 new, 2 known already, 0 replaced, 0 refused" in done.out
    assert await ask() == {(): (3, 30, 3, 0.75)}


async def test_many_versions_of_a_call_in_a_file_are_one(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    rows = [spend(1, spend=n, user=f"user-{n}" if n == 3 else None) for n in range(9)]

    data.bring(jsonl([*rows, spend(2)]), *LITELLM)

    assert await ask("userEmail") == {("user-3",): (1, 10, 1, 8.0)}
    assert await ask() == {(): (2, 20, 2, 8.0)}


async def test_two_columns_of_ids_identify_the_rows_of_any_file(
    data: Data, csv: Write, ask: Ask
) -> None:
    header = "id,CreatedAt,ModelName,InputTokens\n"
    first = "a,2026-07-10T00:00Z,m,1\nb,2026-07-10T00:00Z,m,2\n"
    data.bring(csv(header + first, "a.csv"), *IDS)

    done = data.bring(csv(f"{header}{first}c,2026-07-11T00:00Z,m,4\n", "b.csv"), *IDS)

    assert "3 rows read, 1 new, 2 known already" in done.out
    assert await ask() == {(): (3, 7, None, None)}


async def test_rows_without_ids_are_all_calls_and_the_report_says_so(
    data: Data, csv: Write, ask: Ask
) -> None:
    text = "id,CreatedAt,ModelName\n,2026-07-10T00:00Z,m\n,2026-07-10T00:00Z,m\n"
    data.bring(csv(text, "a.csv"), *IDS)

    done = data.bring(csv(f"{text}x,2026-07-10T00:00Z,m\n", "b.csv"), *IDS)

    unmatched = "rows without ids of their own, which could not be matched"
    assert f"{unmatched}: 2 new, 2 of earlier runs" in done.out
    assert await ask() == {(): (5, None, None, None)}


async def test_a_constant_identifies_nothing(data: Data, csv: Write, ask: Ask) -> None:
    text = "CreatedAt,ModelName\n2026-07-10T00:00Z,m\n2026-07-10T00:00Z,m\n"

    data.bring(csv(text), "--set", "TraceId=t", "--set", "SpanId=s")

    assert await ask() == {(): (2, None, None, None)}


async def test_rules_of_one_span_are_rows_of_their_own(data: Data, csv: Write) -> None:
    text = (
        "TraceId,SpanId,CreatedAt,ConfigType,RuleId\n"
        "t,s,2026-07-10T00:00Z,a,1\nt,s,2026-07-10T00:00Z,a,2\nt,s,2026-07-10T00:00Z,a,2\n"
    )

    data.bring(csv(text), "--table", "gateway_config_metrics")

    assert data.rows('"RuleId"', "gateway_config_metrics") == [("1",), ("2",)]


def test_the_record_says_what_became_of_the_rows(data: Data, jsonl: Write) -> None:
    data.bring(jsonl([spend(1), spend(2), spend(2)], "a.jsonl"), *LITELLM)
    data.bring(jsonl([spend(1), spend(2, spend=1), spend(3)], "b.jsonl"), *LITELLM)

    facts = [
        json.loads(path.read_text("utf-8"))["calls"]
        for path in sorted(data.path.rglob("_import.json"))
        if "/_" not in path.parent.as_posix()
    ]
    assert facts[-1] == {
        "new": 1,
        "known": 1,
        "replaced": 1,
        "refused": 0,
        "wrapping": 0,
        "unmatched": 0,
        "unmatched_before": 0,
        "withdrawn": 0,
        "taken_over": 1,
    }
