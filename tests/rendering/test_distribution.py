"""A distribution reads as one table, and its last line gets on without losing a row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

Ask = Callable[..., Awaitable[str]]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}
SPAN: Final = "2026-07-01T00:00Z to 2026-07-08T00:00Z (7 days)"
SCOPE: Final = "models only, virtual-model rows excluded | counts model calls, retries included"
MODELS: Final = [
    {
        "modelName": "o4",
        "total": 12,
        "sumInputTokens": 50,
        "p99LatencyMs": 88,
        "sumCostInUSD": 20.5,
    },
    {
        "modelName": "gpt",
        "total": 82,
        "sumInputTokens": 90,
        "p99LatencyMs": 16,
        "sumCostInUSD": 4.25,
    },
    {
        "modelName": "claude",
        "total": 19,
        "sumInputTokens": None,
        "p99LatencyMs": 9,
        "sumCostInUSD": 13,
    },
    {
        "modelName": None,
        "total": 3,
        "sumInputTokens": 50,
        "p99LatencyMs": None,
        "sumCostInUSD": None,
    },
]
BY_MODEL: Final = {
    **WEEK,
    "groupBy": ["modelName"],
    "aggregations": ["sum inputTokens", "p99 latencyMs", "sum costInUSD"],
}
COLUMNS: Final = "modelName|total|sumInputTokens|p99LatencyMs|sumCostInUSD"
EMAILS: Final = [f"analyst-{n:02}@example.com" for n in range(20)]


def cells_of(text: str, column: int = 0) -> list[str]:
    """One column of the rows, without what is not a row of the source."""
    lines = [line for line in text.split("\n") if not line.startswith("# ")][2:]
    cells = [line.split("|")[column] for line in lines]
    return [cell for cell in cells if cell != "ALL" and not cell.startswith("other (")]


async def test_the_header_says_what_the_table_covers(ask: Ask) -> None:
    filters = [{"fieldName": "metadata.environment", "operator": "IN", "value": ["production"]}]

    text = await ask(MODELS, {**BY_MODEL, "filters": filters})

    assert text == (
        f'# modelMetrics by modelName | {SPAN} | filter: metadata.environment IN ["production"]'
        f" | {SCOPE} | sorted by sumInputTokens desc | rows 1-4 of 4\n"
        f"{COLUMNS}\n"
        "---|---|---|---|---\n"
        "gpt|82|90|16|4.25\n"
        "null|3|50|null|null\n"
        "o4|12|50|88|20.5\n"
        "claude|19|null|9|13\n"
        "ALL|116|190|88|37.75"
    ).replace("null|3|50|null|null\no4|12|50|88|20.5", "o4|12|50|88|20.50\nnull|3|50|null|null")


async def test_one_row_is_a_line_per_value(ask: Ask) -> None:
    text = await ask(MODELS[:1], BY_MODEL)

    assert text == (
        f"# modelMetrics by modelName | {SPAN} | {SCOPE}\n"
        "modelName: o4\ntotal: 12\nsumInputTokens: 50\np99LatencyMs: 88\nsumCostInUSD: 20.50"
    )


async def test_an_ungrouped_answer_is_a_line_per_value(ask: Ask) -> None:
    text = await ask(
        [{"total": 7, "avgOutputTokens": 2.5}], {**WEEK, "aggregations": "avg outputTokens"}
    )

    assert text == f"# modelMetrics | {SPAN} | {SCOPE}\ntotal: 7\navgOutputTokens: 2.5"


async def test_a_key_column_that_never_changes_is_said_once(ask: Ask) -> None:
    rows = [{"metadata.env": "prod x", "modelName": name, "total": 5} for name in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": ["metadata.env", "modelName"]})

    assert text == (
        f"# modelMetrics by metadata.env, modelName | {SPAN} | {SCOPE} | sorted by total desc"
        " | rows 1-2 of 2\n"
        "# all rows: metadata.env=prod x\n"
        "modelName|total\n---|---\na|5\nb|5\nALL|10"
    )


async def test_rows_that_are_equal_in_all_keys_keep_a_column_to_stand_in(ask: Ask) -> None:
    rows = [{"modelName": None, "metadata.a": None, "total": total} for total in (5, 4)]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName", "metadata.a"], "limit": 1})

    assert text.split("\n")[1:] == [
        "# none of these rows has the metadata key a (case-sensitive)",
        "# all rows: metadata.a=null",
        "modelName|total",
        "---|---",
        "null|5",
        "other (1 row)|4",
        "ALL|9",
        "# 1 more row: same arguments with offset=1, limit=1",
        (
            "# all 2 rows as CSV: resource gateway-metrics://rows?groupBy=modelName,metadata.a"
            "&startTs=2026-07-01&endTs=2026-07-08"
        ),
    ]


async def test_true_and_one_are_two_groups(ask: Ask) -> None:
    rows = [{"metadata.a": key, "total": 5} for key in (True, 1, "1", "true", None)]

    text = await ask(rows, {**WEEK, "groupBy": ["metadata.a"]})

    assert cells_of(text) == ["true", "1", "1", '"true"', "null"]


async def test_a_count_that_equals_total_is_shown_once(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 5, "countModelName": 5} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["count modelName"]}

    text = await ask(rows, question)

    assert text.split("\n")[1:] == [
        "# countModelName equals total in every row",
        "modelName|total",
        "---|---",
        "a|5",
        "b|5",
        "ALL|10",
    ]


async def test_a_count_that_differs_from_total_only_in_all_is_shown(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 5, "countModelName": 5} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["count modelName"]}

    text = await ask(rows, question, totals={"total": 12})

    assert "modelName|total|countModelName" in text
    assert text.endswith("ALL|12|10")


@pytest.mark.parametrize(
    ("order", "phrase", "names"),
    [
        ("sumCostInUSD", "sumCostInUSD desc", ["o4", "claude", "gpt", "null"]),
        ("-sumCostInUSD", "sumCostInUSD asc", ["gpt", "claude", "o4", "null"]),
        ("sum costInUSD", "sumCostInUSD desc", ["o4", "claude", "gpt", "null"]),
        ("total", "total desc", ["gpt", "claude", "o4", "null"]),
        ("modelName", "modelName desc", ["o4", "gpt", "claude", "null"]),
        ("-modelName", "modelName asc", ["claude", "gpt", "o4", "null"]),
        ("sumInputTokens", "sumInputTokens desc", ["gpt", "o4", "null", "claude"]),
        ("-sumInputTokens", "sumInputTokens asc", ["o4", "null", "gpt", "claude"]),
    ],
)
async def test_rows_come_in_the_order_asked_nulls_last_ties_by_key(
    ask: Ask, order: str, phrase: str, names: list[str]
) -> None:
    text = await ask(MODELS, {**BY_MODEL, "orderBy": order})

    assert f"| sorted by {phrase} |" in text
    assert cells_of(text) == names


async def test_rows_not_shown_are_summed_only_where_that_is_right(ask: Ask) -> None:
    text = await ask(MODELS, {**BY_MODEL, "orderBy": "total", "limit": 1, "offset": 1})

    assert text.split("\n")[0].endswith("| sorted by total desc | rows 2-2 of 4")
    assert text.split("\n")[1:] == [
        COLUMNS,
        "---|---|---|---|---",
        "claude|19|null|9|13",
        "other (3 rows)|97|190|n/a|24.75",
        "ALL|116|190|88|37.75",
        "# 2 more rows: same arguments with offset=2, limit=1",
        (
            "# all 4 rows as CSV: resource gateway-metrics://rows?aggregations=sum+inputTokens,"
            "p99+latencyMs,sum+costInUSD&groupBy=modelName&startTs=2026-07-01&endTs=2026-07-08"
            "&orderBy=total"
        ),
    ]


async def test_overlapping_rows_are_never_summed(ask: Ask) -> None:
    rows = [{"team": name, "total": 5} for name in "abc"]

    text = await ask(rows, {**WEEK, "groupBy": ["team"], "limit": 1}, totals={"total": 9})

    assert "other (2 rows)|n/a" in text


async def test_other_adds_floats_without_a_trace_of_their_order(ask: Ask) -> None:
    rows = [{"modelName": f"m{n:03}", "total": 1, "sumCostInUSD": 0.1} for n in range(101)]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"], "limit": 1}

    text = await ask(rows, {**question, "format": "exact"})

    assert "other (100 rows)|100|10.0\n" in text


async def test_an_offset_beyond_the_last_row_says_so(ask: Ask) -> None:
    text = await ask(MODELS, {**BY_MODEL, "offset": 9})

    assert text.split("\n")[0].endswith("| no rows: offset is past the last of 4")
    assert cells_of(text) == []
    assert "other (4 rows)|116|190|n/a|37.75" in text


async def test_one_row_behind_an_offset_is_still_a_table(ask: Ask) -> None:
    text = await ask(MODELS[:1], {**BY_MODEL, "offset": 1})

    assert text.split("\n")[1:] == [
        COLUMNS,
        "---|---|---|---|---",
        "other (1 row)|12|50|n/a|20.50",
    ]


async def test_a_window_that_ends_at_now_is_held_for_the_next_call(ask: Ask) -> None:
    text = await ask(MODELS, {"startTs": "now-1h", "groupBy": ["modelName"], "limit": 3})

    assert text.endswith(
        "# 1 more row: same arguments with offset=3, limit=3,"
        " startTs=2026-07-15T08:30:00.000Z, endTs=2026-07-15T09:30:00.000Z\n"
        "# all 4 rows as CSV: resource gateway-metrics://rows?groupBy=modelName"
        "&startTs=2026-07-15T08:30Z&endTs=2026-07-15T09:30Z"
    )


async def test_rows_of_the_older_generation_have_no_total(ask: Ask) -> None:
    rows = [{"modelName": name, "sumCostInUSD": 2.5} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    text = await ask(rows, question)

    note, *lines = text.split("\n")[1:]
    assert note == "# this gateway does not count rows: use count of a column"
    assert lines == ["modelName|sumCostInUSD", "---|---", "a|2.5", "b|2.5", "ALL|5"]


async def test_rows_without_any_value_are_listed_by_key(ask: Ask) -> None:
    text = await ask([{"modelName": name} for name in "ba"], {**WEEK, "groupBy": ["modelName"]})

    assert text == (
        f"# modelMetrics by modelName | {SPAN} | {SCOPE} | rows 1-2 of 2\n"
        "# this gateway does not count rows: use count of a column\n"
        "modelName\n---\na\nb\nALL"
    )


async def test_a_unit_is_added_where_the_name_has_none(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 1, "sumPotentialCostSavings": 2} for name in "ab"]
    question = {"datasource": "cacheMetrics", **WEEK, "groupBy": ["modelName"]}

    text = await ask(rows, {**question, "aggregations": ["sum potentialCostSavings"]})

    assert "modelName|total|sumPotentialCostSavings (USD)\n" in text


@pytest.mark.parametrize(
    "name", ["metadata.a|b", "metadata.x y z w", "metadata.\n# ALL", "metadata.é\t"]
)
async def test_a_group_by_field_of_any_name_is_one_heading(ask: Ask, name: str) -> None:
    rows = [{name: key, "modelName": "m", "total": 1} for key in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": [name, "modelName"]})

    head, constant, columns, rule, *lines = text.split("\n")
    assert (head[:2], constant) == ("# ", "# all rows: modelName=m")
    assert len(re.findall(r"(?<!\\)\|", columns)) == rule.count("|") == 1
    assert lines == ["a|1", "b|1", "ALL|2"]


async def test_one_domain_of_many_addresses_is_said_once(ask: Ask) -> None:
    rows = [{"createdBySubjectSlug": email, "total": 1} for email in EMAILS]

    text = await ask(rows, {**WEEK, "groupBy": ["userEmail"]})

    assert "# every userEmail ending in @ below continues with example.com: filters need it" in text
    assert cells_of(text) == [email.removesuffix("example.com") for email in EMAILS]


@pytest.mark.parametrize(
    "emails",
    [
        EMAILS[:19],
        [*EMAILS, None],
        [*EMAILS, "bot"],
        [*EMAILS, "bot@other.example.com"],
        [*EMAILS, "@example.com"],
    ],
)
async def test_addresses_stand_whole_where_that_costs_little_or_they_differ(
    ask: Ask, emails: list[str | None]
) -> None:
    rows = [{"createdBySubjectSlug": email, "total": 1} for email in emails]

    text = await ask(rows, {**WEEK, "groupBy": ["userEmail"]})

    assert "continues with" not in text
    assert "\nanalyst-07@example.com|1\n" in text


async def test_all_digits_are_given_with_whole_addresses(ask: Ask) -> None:
    rows = [{"createdBySubjectSlug": email, "total": 1} for email in EMAILS]

    text = await ask(rows, {**WEEK, "groupBy": ["userEmail"], "format": "exact"})

    assert cells_of(text) == EMAILS


def next_arguments(text: str) -> dict[str, Any] | None:
    """The arguments that the last line asks to change, but for that on all rows."""
    last = text.partition("\n# all ")[0].rsplit("\n", maxsplit=1)[-1]
    if ": same arguments with " not in last:
        return None
    pairs = last.split(" same arguments with ")[1].split(", ")
    return dict(pair.split("=", 1) for pair in pairs)


@given(
    totals=st.lists(st.integers(0, 9) | st.none(), min_size=2, max_size=150),
    limit=st.none() | st.integers(1, 40),
    budget=st.sampled_from([500, 700, 1500]),
    order=st.sampled_from(["total", "-total", "modelName", "-modelName"]),
)
async def test_following_the_last_line_gives_every_row_once(
    ask: Ask, totals: list[int | None], limit: int | None, budget: int, order: str
) -> None:
    rows = [{"modelName": f"model-{n}", "total": total} for n, total in enumerate(totals)]
    question = {**WEEK, "groupBy": ["modelName"], "orderBy": order}
    arguments: dict[str, Any] = question if limit is None else {**question, "limit": limit}
    seen: list[str] = []
    changes: dict[str, Any] | None = {}

    while changes is not None:
        arguments = {**arguments, **changes}
        text = await ask(rows, arguments, budget=budget)
        seen += cells_of(text)
        changes = next_arguments(text)

    whole = await ask(rows, question, budget=12_000)
    assert seen == cells_of(whole)
    assert sorted(seen) == sorted(f"model-{n}" for n in range(len(totals)))
