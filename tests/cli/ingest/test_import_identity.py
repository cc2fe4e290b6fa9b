"""Each call counts once, whatever tells of it how often: its newest values are those that count."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.ingest.conftest import read_rows

from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.cli.ingest.command import main
from gateway_metrics_mcp.cli.ingest.compact import main as compact

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]

TABLE: Final = "gateway_model_metrics"
LITELLM: Final = ("--preset", "litellm")
SPANS: Final = ("--preset", "otel-genai")
IDS: Final = ("--map", "TraceId=id,SpanId=id")
EXAMPLES: Final = settings().max_examples if settings().max_examples >= 500 else 5
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


# --- spans around one another ---

START: Final = 1_783_684_800_000_000_000


def span(id_: str, parent: str = "", **more: Any) -> dict[str, Any]:
    """A span of a call of 100 and 20 tokens; times are in seconds from one moment."""
    trace, start = more.pop("trace", "t1"), more.pop("start", 0.0)
    length = more.pop("length", 1.0)
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.id": more.pop("response", None),
    } | more
    return {
        "traceId": trace,
        "spanId": id_,
        "parentSpanId": parent,
        "startTimeUnixNano": START + round(start * 1e9),
        "endTimeUnixNano": START + round((start + length) * 1e9),
        "attributes": {name: value for name, value in attributes.items() if value is not None},
    }


def no_call(id_: str, parent: str = "", **attributes: Any) -> dict[str, Any]:
    """A span that is no model call."""
    return span(id_, parent) | {"attributes": attributes}


TOKENS: Final[dict[str, Any]] = {
    "gen_ai.usage.input_tokens": None,
    "gen_ai.usage.output_tokens": None,
}
AGENT: Final[dict[str, Any]] = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.request.model": "m",
}
TOOL: Final = {"gen_ai.operation.name": "execute_tool"}
EMBEDDINGS: Final = {"gen_ai.operation.name": "embeddings"}
HTTP: Final = {"http.method": "POST"}
OTHER_MODEL: Final = {"gen_ai.request.model": "n"}
HIT: Final[dict[str, Any]] = {"gen_ai.cache.hit": True}
CASES: Final[dict[str, tuple[list[dict[str, Any]], int]]] = {
    "around the same response": ([span("a", response="r"), span("b", "a", response="r")], 1),
    "around a call without a response id": ([span("a", response="r"), span("b", "a")], 1),
    "around it without any": ([span("a"), span("b", "a")], 1),
    "the inner one before": ([span("b", "a"), span("a")], 1),
    "three": ([span("a"), span("b", "a"), span("c", "b")], 1),
    "with others between": (
        [span("a"), no_call("x", "a"), no_call("y", "x", **HTTP), span("b", "y")],
        1,
    ),
    "in an agent": ([no_call("a", **AGENT), span("b", "a"), span("c", "a")], 2),
    "of a tool that a call runs": ([span("a"), no_call("x", "a", **TOOL), span("b", "x")], 2),
    "of an agent in a call": ([span("a"), no_call("x", "a", **AGENT), span("b", "x")], 2),
    "of another model": ([span("a"), span("b", "a", **OTHER_MODEL)], 2),
    "of another kind": ([span("a"), span("b", "a", **EMBEDDINGS)], 2),
    "of another response": ([span("a", response="r"), span("b", "a", response="s")], 2),
    "around all attempts": (
        [
            span("a", response="r"),
            span("b", "a", **TOKENS, **{"error.type": "429"}),
            span("c", "a", response="r", start=0.5, length=0.5),
        ],
        2,
    ),
    "a success around a failure alone": ([span("a"), span("b", "a", **{"error.type": "429"})], 2),
    "beside it": ([span("a"), span("b")], 2),
    "in two traces": ([span("a", response="r"), span("b", trace="t2", response="r")], 1),
    "in two traces, of another model": (
        [span("a", response="r"), span("b", trace="t2", response="r", **OTHER_MODEL)],
        2,
    ),
    "in three traces, and around": (
        [
            span("a", response="r"),
            span("b", "a"),
            span("c", trace="t2", response="r", start=0.1, length=0.5),
            span("d", trace="t3", response="r", start=-0.1, length=2.0),
        ],
        1,
    ),
    "answered by a cache later": (
        [span("a", response="r"), span("b", trace="t2", response="r", start=60, length=0.01)],
        2,
    ),
    "answered by a cache that says so": (
        [span("a", response="r"), span("b", trace="t2", response="r", **HIT)],
        2,
    ),
    "in a circle": ([span("a", "b"), span("b", "a"), span("c", "c")], 3),
}  # fmt: skip


def test_spans_around_one_another_are_one_call(data: Data, jsonl: Write) -> None:
    told = [[part_of(name, one) for one in spans] for name, (spans, _) in CASES.items()]
    spans = [one for case in told for one in case]

    done = data.bring(jsonl(spans, "a.jsonl"), *SPANS)

    assert done.code == 0, done.err
    traces = [trace.partition("/")[0] for (trace,) in data.rows('"TraceId"')]
    assert Counter(traces) == {name: calls for name, (_, calls) in CASES.items()}
    again = data.bring(jsonl([*spans, no_call("z")], "b.jsonl"), *SPANS)
    assert again.out.endswith("no new rows, so nothing was written\n")


def part_of(case: str, one: dict[str, Any]) -> dict[str, Any]:
    """A span with ids of its case alone."""
    attributes = dict(one["attributes"])
    if "gen_ai.response.id" in attributes:
        attributes["gen_ai.response.id"] += case
    return one | {"traceId": f"{case}/{one['traceId']}", "attributes": attributes}


def test_the_inner_span_counts_and_has_what_only_the_outer_one_knows(
    data: Data, jsonl: Write
) -> None:
    rich = {"gen_ai.conversation.id": "c", "user.id": "ada", "error.type": "500"}
    outer = span("a", length=2, **rich)
    inner = span("b", "a", response="r", **TOKENS, **{"http.response.status_code": 200})

    data.bring(jsonl([outer, inner]), *SPANS)

    columns = '"SpanId", "InputTokens", "LatencyMs", "CreatedBySubjectSlug", "ConversationId"'
    assert data.rows(columns) == [("b", 100, 1000.0, "ada", "c")]
    assert data.rows('"IsFailure", "HttpStatusCode", "ErrorType"') == [(False, 200, None)]


def test_the_richer_of_two_spans_with_one_response_counts(data: Data, jsonl: Write) -> None:
    poor = span("a", response="r", length=0.5, **TOKENS, **{"gen_ai.conversation.id": "c"})
    rich = span("b", trace="t2", response="r")

    data.bring(jsonl([poor, rich]), *SPANS)

    assert data.rows('"SpanId", "InputTokens", "ConversationId"') == [("b", 100, "c")]


@pytest.mark.parametrize("order", [1, -1])
def test_spans_of_one_response_in_two_files_are_one_call(
    data: Data, jsonl: Write, order: int
) -> None:
    spans = [
        span("a", response="r", **{"gen_ai.conversation.id": "c"}),
        span("b", trace="t2", response="r", start=0.25, length=0.5, **TOKENS),
    ]
    first, second = spans[::order]

    data.bring(jsonl([first], "a.jsonl"), *SPANS)
    done = data.bring(jsonl([second], "b.jsonl"), *SPANS)

    assert f"1 rows read, 0 new, {'1 known already, 0' if order > 0 else '0 known already, 1'}" in (
        done.out
    )
    (row,) = data.rows('"SpanId", "InputTokens", "ConversationId"')
    assert row == (first["spanId"], 100, "c")
    later = span("x", trace="t3", response="r", start=9)
    assert "1 new" in data.bring(jsonl([later], "c.jsonl"), *SPANS).out
    assert len(data.rows()) == 2


def test_a_constant_that_is_given_as_response_id_joins_no_other_calls(
    data: Data, jsonl: Write
) -> None:
    spans = [span(f"s{n}", trace=f"t{n}", response="x", start=2 * n) for n in range(50)]
    data.bring(jsonl(spans[:25], "a.jsonl"), *SPANS)

    data.bring(jsonl(spans[25:], "b.jsonl"), *SPANS)

    assert len(data.rows()) == 50


def test_an_appended_file_of_a_collector_adds_what_was_appended(data: Data, jsonl: Write) -> None:
    spans = [span("b", "a"), span("c")]
    data.bring(jsonl(spans, "a.jsonl"), *SPANS)

    outer = span("a", **{"gen_ai.conversation.id": "c"})
    done = data.bring(jsonl([*spans, outer, span("d")], "b.jsonl"), *SPANS)

    assert "4 rows read, 1 new, 2 known already, 1 replaced" in done.out
    found = {row[0]: row[1] for row in data.rows('"SpanId", "ConversationId"')}
    assert found == {"b": "c", "c": None, "d": None}


# --- what earlier versions imported ---


def bring_as_before(paths: Sequence[Path], into: Path, *flags: str) -> Path:
    """Import files as earlier versions did: no identities, no manifest, eight digits."""
    with tempfile.TemporaryDirectory() as scratch:
        assert main([*map(str, paths), "--into", scratch, *flags]) == 0
        (run,) = Path(scratch, TABLE).glob("import-*")
        old = into / TABLE / re.sub(r"(Z-.{8}).{4}", r"\1", run.name)
        for rows in run.rglob("rows.parquet"):
            target = old / rows.relative_to(run)
            target.parent.mkdir(parents=True)
            columns = ", ".join(f'"{name}"' for name in published_tables()[TABLE])
            duckdb.execute(
                f"COPY (SELECT {columns} FROM read_parquet($rows)) TO '{target}'",  # noqa: S608 - the tests' own
                {"rows": str(rows)},
            )
        record = json.loads((run / "_import.json").read_text("utf-8"))
        facts = {"made_at": record["made_at"], "table": TABLE, "sources": record["sources"]}
        (old / "_import.json").write_text(json.dumps(facts), "utf-8")
    return old


@pytest.mark.parametrize("is_compacted", [False, True])
async def test_calls_of_runs_of_earlier_versions_are_known_by_their_ids(
    data: Data, jsonl: Write, ask: Ask, *, is_compacted: bool
) -> None:
    old = jsonl([spend(1), spend(2), spend(3, 20)], "a.jsonl")
    bring_as_before([old], data.path, *LITELLM)
    assert not is_compacted or compact([str(data.path)]) == 0
    table = [spend(1, spend=0.5), spend(2), spend(4)]

    done = data.bring(jsonl(table, "b.jsonl"), *LITELLM)

    assert "3 rows read, 1 new, 1 known already, 1 replaced, 0 refused" in done.out
    assert "could not be matched" not in done.out
    assert await ask() == {(): (4, 40, 4, 0.5)}
    assert "imported before" in data.bring(old, *LITELLM).out


async def test_a_call_that_an_earlier_version_doubled_is_one_again(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    bring_as_before([jsonl([spend(1), spend(2)], "a.jsonl")], data.path, *LITELLM)
    bring_as_before([jsonl([spend(1, spend=0.5)], "b.jsonl")], data.path, *LITELLM)

    data.bring(jsonl([spend(1), spend(3)], "c.jsonl"), *LITELLM)

    assert await ask() == {(): (3, 30, 3, 0.5)}


def test_rows_of_earlier_versions_without_ids_are_counted(data: Data, csv: Write) -> None:
    header = "id,CreatedAt,ModelName\n"
    old = csv(f"{header},2026-07-10T00:00Z,m\na,2026-07-10T00:00Z,m\n", "a.csv")
    bring_as_before([old], data.path, *IDS)

    done = data.bring(csv(f"{header}a,2026-07-10T00:00Z,m\nb,2026-07-10T00:00Z,m\n", "b.csv"), *IDS)

    assert "2 rows read, 1 new, 1 known already, 0 replaced" in done.out
    assert "which could not be matched: 1 of earlier runs" in done.out


# --- --replace ---


async def test_replacing_a_file_gives_its_rows_by_new_flags(
    data: Data, csv: Write, ask: Ask
) -> None:
    text = "CreatedAt,InputTokens\n2026-07-10T00:00Z,1\n2026-07-11T00:00Z,2\n"
    path, other = csv(text, "a.csv"), csv("CreatedAt\n2026-07-10T00:00Z\n", "b.csv")
    data.bring(path, other, "--set", "ModelName=wrong")

    done = data.bring(path, "--set", "ModelName=right", "--replace")

    assert "2 rows read, 2 new, 0 refused" in done.out
    assert "earlier rows of these files, which made room: 2" in done.out
    assert "could not be matched: 2 new\n" in done.out
    assert await ask("modelName") == {
        ("right",): (2, 3, None, None),
        ("wrong",): (1, None, None, None),
    }
    assert "imported before" in data.bring(path).out
    assert "imported before" in data.bring(other).out


async def test_a_file_of_an_earlier_version_is_replaced_if_it_came_alone(
    data: Data, csv: Write, ask: Ask
) -> None:
    path = csv("CreatedAt\n2026-07-10T00:00Z\n2026-07-20T00:00Z\n")
    bring_as_before([path], data.path, "--set", "ModelName=wrong")

    data.bring(path, "--set", "ModelName=right", "--replace")

    assert await ask("modelName") == {("right",): (2, None, None, None)}


def test_a_file_that_an_earlier_version_took_with_others_is_refused(data: Data, csv: Write) -> None:
    paths = [csv("CreatedAt\n2026-07-10T00:00Z\n", name) for name in ("a.csv",)]
    paths.append(csv("CreatedAt\n2026-07-11T00:00Z\n", "b.csv"))
    run = bring_as_before(paths, data.path)
    before = data.files()

    done = data.bring(paths[0], "--replace")

    assert done.code == 1
    assert f"came in together with others in {run.name}" in done.err
    assert "Remove that folder, and import again: a.csv, b.csv" in done.err
    assert data.files() == before


async def test_a_file_that_came_with_others_is_refused_also_after_its_run_was_merged(
    data: Data, csv: Write, ask: Ask
) -> None:
    paths = [
        csv(f"CreatedAt\n2026-07-{day}T00:00Z\n", name)
        for day, name in ((10, "a.csv"), (11, "b.csv"))
    ]
    bring_as_before(paths, data.path)
    for _ in range(2):  # also of what was merged before
        assert compact([str(data.path)]) == 0
        data.bring(csv("CreatedAt\n2026-07-10T01:00Z\n", "c.csv"))
        before = data.files()

        done = data.bring(paths[0], "--replace")

        assert done.code == 1
        assert "Remove that folder, and import again: a.csv, b.csv" in done.err
        assert data.files() == before
    assert (await ask())[()][0] == 3


# --- files of others beside rows ---


async def test_calls_are_known_also_beside_a_file_that_import_did_not_write(
    data: Data, jsonl: Write, ask: Ask
) -> None:
    data.bring(jsonl([spend(1), spend(2)], "a.jsonl"), *LITELLM)
    (rows,) = data.path.rglob("rows.parquet")
    beside = rows.with_name("Thumbs.db")
    beside.touch()

    done = data.bring(jsonl([spend(1), spend(2), spend(3)], "b.jsonl"), *LITELLM)
    refused = data.bring(jsonl([spend(1, spend=0.5)], "c.jsonl"), *LITELLM)

    assert "3 rows read, 1 new, 2 known already" in done.out
    assert refused.code == 1
    assert "a file that import did not write: Thumbs.db. Move it" in refused.err
    assert await ask() == {(): (3, 30, 3, None)}
    beside.unlink()
    assert data.bring(jsonl([spend(1, spend=0.5)], "c.jsonl"), *LITELLM).code == 0
    assert await ask() == {(): (3, 30, 3, 0.5)}


# --- any sequence of imports, against a model of it in Python ---

Call = dict[str, Any]
calls = st.fixed_dictionaries(
    {
        "id": st.none() | st.sampled_from("abcd"),
        "day": st.sampled_from((10, 11)),
        "tokens": st.none() | st.integers(0, 2),
        "cost": st.none() | st.sampled_from((0.25, 0.5)),
        "user": st.none() | st.sampled_from(("ada", "bob")),
    }
)
files = st.lists(calls, min_size=1, max_size=4)
steps = st.lists(
    st.tuples(
        st.sampled_from(("import", "import", "replace", "compact")), st.lists(files, max_size=2)
    ),
    min_size=1,
    max_size=4,
)


class Model:
    """Each call once: the newest value of each column that says something."""

    def __init__(self) -> None:
        self.known: dict[str, Call] = {}
        self.nameless: list[Call] = []
        self.files: set[str] = set()

    def bring(self, texts: Mapping[str, list[Call]], *, is_replacing: bool) -> None:
        if not is_replacing:
            texts = {text: rows for text, rows in texts.items() if text not in self.files}
        batch: dict[str, Call] = {}
        nameless = []
        for text, rows in texts.items():
            for row in rows:
                told = row | {"source": text}
                if row["id"] is None:
                    nameless.append(told)
                else:
                    batch[row["id"]] = self.merge(told, batch.get(row["id"]))
        if is_replacing and texts:
            again = self.files & set(texts)
            self.known = {k: row for k, row in self.known.items() if row["source"] not in again}
            self.nameless = [row for row in self.nameless if row["source"] not in again]
        is_changed = bool(nameless)
        for key, told in batch.items():
            merged = self.merge(told, self.known.get(key))
            if key not in self.known or facts(merged) != facts(self.known[key]):
                self.known[key] = merged
                is_changed = True
        self.nameless += nameless
        if is_changed:
            self.files |= set(texts)

    def merge(self, new: Call, old: Call | None) -> Call:
        return new if old is None else {k: old[k] if v is None else v for k, v in new.items()}

    def rows(self) -> Counter[tuple[Any, ...]]:
        return Counter(map(facts, [*self.known.values(), *self.nameless]))


def facts(call: Call) -> tuple[Any, ...]:
    return call["day"], call["tokens"], call["cost"], call["user"] or "imported"


def text_of(rows: list[Call]) -> str:
    return "".join(
        f"{json.dumps(row | {'time': '2026-07-{day}T00:00Z'.format_map(row)})}\n" for row in rows
    )


CALL_FLAGS: Final = (
    *("--map", "TraceId=id,SpanId=id,CreatedAt=time,InputTokens=tokens,CostInUSD=cost"),
    *("--map", "CreatedBySubjectSlug=user"),
)


@settings(max_examples=EXAMPLES)
@given(old=st.none() | files, steps=steps)
def test_any_sequence_of_imports_counts_each_call_once(
    old: list[Call] | None, steps: list[tuple[str, list[list[Call]]]]
) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "data")
        if old is not None:
            text = text_of(old)
            Path(folder, "old.jsonl").write_text(text, "utf-8")
            bring_as_before([Path(folder, "old.jsonl")], into, *CALL_FLAGS)
            model.bring({text: old}, is_replacing=False)
        for action, told in steps:
            if action == "compact" and into.exists():
                assert compact([str(into)]) == 0
            texts = {text_of(rows): rows for rows in told}
            paths = [Path(folder, f"{n}.jsonl") for n in range(len(told))]
            for path, rows in zip(paths, told, strict=True):
                path.write_text(text_of(rows), "utf-8")
            if action != "compact" and paths:
                more = ["--replace"] if action == "replace" else []
                argv = [*map(str, paths), "--into", str(into), *CALL_FLAGS, *more]
                assert main(argv) == 0
                model.bring(texts, is_replacing=action == "replace")
        columns = 'day("CreatedAt"), "InputTokens", "CostInUSD", "CreatedBySubjectSlug"'
        assert Counter(read_rows(into, columns)) == model.rows()
