"""Each note stands where it is true, and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from gateway_metrics_mcp.rendering.document import Note, estimate_tokens

Ask = Callable[..., Awaitable[str]]
ReadNotes = Callable[..., Awaitable[list[Note]]]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}


def rows_by(*names: str, **values: Any) -> list[dict[str, Any]]:
    """Two rows that differ in each of the keys."""
    return [{**dict.fromkeys(names, key), "total": 3, **values} for key in ("a", "b")]


def filter_by(field: str, *values: str, operator: str = "IN") -> dict[str, Any]:
    return {"fieldName": field, "operator": operator, "value": list(values)}


SLUG: Final = "createdBySubjectSlug"
TRUE: Final[list[tuple[str, str, list[dict[str, Any]], dict[str, Any], dict[str, Any]]]] = [
    (
        "rows",
        "team rows overlap: a caller in several teams",
        rows_by("team"),
        {"groupBy": ["team"]},
        {"totals": {"total": 5}},
    ),
    (
        "rows",
        "team rows may overlap: a caller in several teams",
        rows_by("team"),
        {"groupBy": ["team"]},
        {"is_by_rulings": False},
    ),
    (
        "rows",
        "the team filter chooses callers; their other teams",
        rows_by("team"),
        {"groupBy": ["team"], "filters": [filter_by("team", "a", operator="ARRAY_HAS_ANY")]},
        {},
    ),
    (
        "rows",
        "rows are users only; other callers are in ALL, not in the rows",
        rows_by(SLUG),
        {"groupBy": ["userEmail"]},
        {"totals": {"total": 8}},
    ),
    (
        "rows",
        "rows are virtual accounts only; other callers are in ALL, not in the rows",
        rows_by(SLUG),
        {"groupBy": ["virtualaccount"]},
        {"totals": {"total": 8}},
    ),
    (
        "rows",
        "users and virtual accounts share one column: group by createdBySubjectType too",
        rows_by(SLUG),
        {"groupBy": ["userEmail", "virtualaccount"]},
        {},
    ),
    (
        "rows",
        "gateway requests of all kinds are counted, not only of agents: filter agentName",
        rows_by("isFailure"),
        {"datasource": "agentMetrics", "groupBy": ["isFailure"]},
        {},
    ),
    ("rows", 'filter method IN ["tools/call"]', [{"total": 3}], {"datasource": "mcpMetrics"}, {}),
    (
        "rows",
        "load-balance, rate-limit and budget rules are mixed: group by configType",
        [{"total": 3}],
        {"datasource": "configMetrics"},
        {},
    ),
    ("age", "from the cache, 42 s old", [{"total": 3}], {}, {"age_s": 41.7}),
    ("age", "from the cache, under 1 s old", [{"total": 3}], {}, {"age_s": 0.2}),
    ("age", "from the cache, 59 min old", [{"total": 3}], {}, {"age_s": 3541}),
    ("age", "from the cache, 26 h old", [{"total": 3}], {}, {"age_s": 26 * 3600}),
    (
        "source",
        "the gateway cut the result",
        [{"total": 3}],
        {},
        {"notes": ("the gateway cut the result",)},
    ),
    (
        "filling",
        "the window touches now: its last minutes may still be filling",
        [{"total": 3}],
        {"startTs": "now-1h", "endTs": None},
        {},
    ),
    ("window", "cut to now", [{"total": 3}], {"endTs": "2026-08-01"}, {}),
    (
        "rounded",
        "decimals rounded (format exact: all digits)",
        [{"total": 3, "sumCostInUSD": 0.123456}],
        {"aggregations": ["sum costInUSD"]},
        {},
    ),
    (
        "source",
        "the gateway's rows have no sumCostInUSD: shown as null",
        [{"total": 3}],
        {"aggregations": ["sum costInUSD"]},
        {"notes": ("the gateway's rows have no sumCostInUSD: shown as null",)},
    ),
]
FALSE: Final[list[tuple[str, list[dict[str, Any]], dict[str, Any], dict[str, Any]]]] = [
    ("rows", rows_by("modelName"), {"groupBy": ["modelName"]}, {}),
    ("rows", rows_by("team")[:1], {"groupBy": ["team"]}, {}),
    ("rows", rows_by("team"), {"groupBy": ["team"]}, {}),
    ("rows", rows_by(SLUG), {"groupBy": ["userEmail"]}, {}),
    (
        "rows",
        rows_by("team"),
        {"groupBy": ["team"], "filters": [filter_by("team", "a", "b", operator="ARRAY_HAS_ANY")]},
        {},
    ),
    (
        "rows",
        [{"team": "a", "modelName": m, "total": 3} for m in "ab"],
        {"groupBy": ["team", "modelName"]},
        {},
    ),
    ("rows", [{"team": t, "total": 3} for t in ("a", None)], {"groupBy": ["team"]}, {}),
    (
        "rows",
        rows_by("modelName"),
        {
            "groupBy": ["modelName"],
            "filters": [filter_by("team", "a", operator="ARRAY_HAS_ANY")],
        },
        {},
    ),
    ("rows", rows_by("modelName"), {"groupBy": ["modelName"]}, {}),
    (
        "rows",
        rows_by(SLUG, "createdBySubjectType"),
        {"groupBy": ["userEmail", "virtualaccount", "createdBySubjectType"]},
        {},
    ),
    (
        "rows",
        rows_by("agentName"),
        {
            "datasource": "agentMetrics",
            "groupBy": ["agentName"],
            "filters": [filter_by("agentName", "a")],
        },
        {},
    ),
    ("rows", [{"total": 3}], {}, {}),
    (
        "rows",
        rows_by("toolName"),
        {
            "datasource": "mcpMetrics",
            "groupBy": ["toolName"],
            "filters": [filter_by("toolName", "a")],
        },
        {},
    ),
    (
        "rows",
        rows_by("configType"),
        {"datasource": "configMetrics", "groupBy": ["configType"]},
        {},
    ),
    ("age", [{"total": 3}], {}, {}),
    ("filling", [{"total": 3}], {}, {}),
    ("window", [{"total": 3}], {}, {}),
    (
        "rounded",
        [{"total": 3, "sumCostInUSD": 0.1234}],
        {"aggregations": ["sum costInUSD"]},
        {},
    ),
    (
        "rounded",
        [{"total": 3, "sumCostInUSD": 0.123456}],
        {"aggregations": ["sum costInUSD"], "format": "exact"},
        {},
    ),
    ("source", [{"total": 3}], {}, {}),
]


@pytest.mark.parametrize(("kind", "text", "rows", "arguments", "facts"), TRUE)
async def test_a_note_is_said_where_it_is_true(
    read_notes: ReadNotes,
    kind: str,
    text: str,
    rows: list[dict[str, Any]],
    arguments: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    notes = await read_notes(rows, {**WEEK, **arguments}, **facts)

    assert [note.kind for note in notes if text in note.text] == [kind]


@pytest.mark.parametrize(("kind", "rows", "arguments", "facts"), FALSE)
async def test_a_note_is_not_said_where_it_is_untrue(
    read_notes: ReadNotes,
    kind: str,
    rows: list[dict[str, Any]],
    arguments: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    notes = await read_notes(rows, {**WEEK, **arguments}, **facts)

    assert [note for note in notes if note.kind == kind] == []


async def test_users_alone_are_said_once_and_of_all_only_beside_an_all_row(
    read_notes: ReadNotes,
) -> None:
    question = {**WEEK, "groupBy": ["userEmail"]}
    notes = await read_notes([], {**question, "interval": "1 day"})
    (series,) = [note for note in notes if note.kind == "rows"]
    notes = await read_notes(rows_by(SLUG), question, totals={"total": 8})
    (many,) = [note for note in notes if note.kind == "rows"]

    assert "ALL" not in series.text
    assert "ALL" in many.text


@pytest.mark.parametrize(
    ("datasource", "more", "counted"),
    [
        ("mcpMetrics", {}, "MCP requests of all methods"),
        ("mcpMetrics", {"filters": [filter_by("toolName", "a")]}, "MCP requests"),
        ("agentMetrics", {}, "gateway requests of all kinds"),
        ("agentMetrics", {"filters": [filter_by("agentName", "a")]}, "gateway requests"),
        ("modelMetrics", {}, "model calls, retries included"),
        (
            "modelMetrics",
            {"filters": [filter_by("modelName", "a")]},
            "model calls, retries included",
        ),
        ("modelMetrics", {"groupBy": ["virtualModel"]}, "requests to virtual models"),
        ("cacheMetrics", {}, "model calls that looked in the cache"),
        (
            "cacheMetrics",
            {"filters": [filter_by("virtualModelName", "a")]},
            "requests to virtual models that looked in the cache",
        ),
    ],
)
async def test_the_header_says_what_is_counted(
    ask: Ask, datasource: str, more: dict[str, Any], counted: str
) -> None:
    rows = rows_by("virtualModelName") if "groupBy" in more else [{"total": 3}]

    text = await ask(rows, {**WEEK, "datasource": datasource, **more})

    parts = text.split("\n")[0].split(" | ")
    assert [part for part in parts if part.startswith("counts ")] == [f"counts {counted}"]


async def test_notes_that_would_take_most_of_the_budget_give_way(ask: Ask) -> None:
    notes = tuple(f"sentence {n} of the gateway, which is not a short one" for n in range(40))
    rows = [{"modelName": f"m{n}", "total": n} for n in range(60)]
    question = {**WEEK, "groupBy": ["modelName"]}

    text = await ask(rows, question, budget=600, notes=notes)
    whole = await ask(rows, question, budget=4000, notes=notes)

    shown = [line for line in text.split("\n") if line.startswith("# sentence ")]
    assert shown == [f"# {note}" for note in notes[: len(shown)]]
    assert 3 <= len(shown) < 40
    assert f"\n# and {40 - len(shown)} more notes (token budget too small)\n" in text
    assert estimate_tokens("\n".join(shown)) <= 300
    assert estimate_tokens(text) <= 600
    assert all(f"\n# {note}\n" in whole for note in notes)
    assert "more notes" not in whole


async def test_three_notes_stand_however_long_they_are(ask: Ask) -> None:
    notes = tuple(f"{n} {'long words of a note ' * 40}" for n in range(5))
    rows = [{"modelName": name, "total": 3} for name in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName"]}, budget=500, notes=notes)

    shown = [line for line in text.split("\n") if "long words" in line]
    assert shown == [f"# {note}" for note in notes[:3]]
    assert "\n# and 2 more notes (token budget too small)\n" in text


async def test_a_rounded_all_row_is_said_too(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 3, "sumCostInUSD": 0.5} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    assert "# decimals rounded" in await ask(rows, question, totals={"sumCostInUSD": 1.00001})


async def test_a_note_with_foreign_text_stays_on_its_line(ask: Ask) -> None:
    text = await ask([{"total": 3}], WEEK, notes=("no metadata.a\n|b\u202e",))

    assert text.split("\n")[1:] == ["# no metadata.a\\u000a|b\\u202e", "total: 3"]


async def test_all_notes_at_once_leave_room_for_rows(ask: Ask) -> None:
    rows = [
        {"team": f"t{n}", SLUG: f"user-{n}@example.com", "total": n, "sumCostInUSD": n * 0.123456}
        for n in range(60)
    ]
    filters = [
        filter_by("team", "t1", operator="ARRAY_HAS_ANY"),
        filter_by("metadata.environment", "production", "staging"),
    ]
    question = {
        "datasource": "agentMetrics",
        "startTs": "2026-07-01",
        "endTs": "2026-08-01",
        "groupBy": ["team", "userEmail"],
        "filters": filters,
    }
    facts = {
        "notes": ("one more of the gateway", "and another"),
        "age_s": 5,
    }

    text = await ask(rows, question, budget=500, totals={"total": 900}, present=(), **facts)

    notes = [line for line in text.split("\n") if line.startswith("# ")]
    assert len(notes) == 15
    assert estimate_tokens(text) <= 500
    assert "\nt59|user-59@|59\n" in text
