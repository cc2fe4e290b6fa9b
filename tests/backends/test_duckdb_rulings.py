"""The rulings on what the API leaves open, as the embedded engine keeps them."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_metrics_mcp.access import LOCAL, Caller, SubjectType
from gateway_metrics_mcp.backends.duckdb import DuckDBBackend
from gateway_metrics_mcp.errors import InvalidQueryError, TooManyRowsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.interval import Interval
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.reading import read_query
from gateway_metrics_mcp.query.vocabulary import (
    DATASOURCES,
    INTERVAL_UNITS,
    PERCENTILES,
    DatasourceName,
)

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]

UTC_NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
EXAMPLES: Final = json.loads(
    (Path(__file__).parents[1] / "query" / "examples.json").read_text("utf-8")
)
AGGREGATES: Final = ("sum", "count", "countDistinct", "min", "max", "avg", *PERCENTILES)
COUNTS: Final = {"countInputTokens": 0, "countDistinctInputTokens": 0}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def names(rows: Iterable[Row], key: str = "modelName") -> set[str]:
    return {row[key] for row in rows}


# --- R1 to R3: what an answer over nothing is ---


@pytest.mark.parametrize("model", ["absent", None], ids=["nothing matches", "no files"])
async def test_r1_an_ungrouped_distribution_over_nothing_is_one_row(
    ask: Ask, write: Write, model: str | None
) -> None:
    if model is not None:
        write([{"ModelName": "gpt-4o", "InputTokens": 3, "Teams": ["search"]}])

    rows = await ask(
        aggregations=[f"{name} inputTokens" for name in AGGREGATES]
        + ["count team", "countDistinct team", "sum costInUSD"],
        filters=[("modelName", "EQUAL", "absent")],
    )

    nulls = {f"{name}InputTokens": None for name in AGGREGATES}
    teams = {"countTeam": 0, "countDistinctTeam": 0, "sumCostInUSD": None}
    assert rows == [{"total": 0, **nulls, **COUNTS, **teams}]


async def test_r1_an_aggregate_of_nulls_alone_is_null_and_its_count_zero(
    ask: Ask, write: Write
) -> None:
    write([{"InputTokens": None}, {"InputTokens": None}])

    rows = await ask(aggregations=[f"{name} inputTokens" for name in AGGREGATES])

    assert rows == [{"total": 2, **{f"{n}InputTokens": None for n in AGGREGATES}, **COUNTS}]


async def test_r2_a_grouped_query_over_nothing_has_no_rows(ask: Ask, write: Write) -> None:
    write([{"ModelName": "gpt-4o"}])

    rows = await ask(groupBy=["modelName"], filters=[("modelName", "EQUAL", "absent")])

    assert rows == []


async def test_r3_buckets_without_rows_are_not_returned(ask: Ask, write: Write) -> None:
    write([{"CreatedAt": at("2026-07-02T00:00")}, {"CreatedAt": at("2026-07-05T00:00")}])

    rows = await ask(interval="1 day")
    nothing = await ask(interval="1 day", endTs="2026-07-02T00:00:00Z")

    assert [row["startTimestamp"][:10] for row in rows] == ["2026-07-02", "2026-07-05"]
    assert nothing == []


# --- R4: buckets ---


@pytest.mark.parametrize(
    ("interval", "instant", "start", "end"),
    [
        ("7 second", "2026-07-10T12:00:00", "2026-07-10T11:59:58", "2026-07-10T12:00:05"),
        ("7 minute", "2026-07-10T12:00:00", "2026-07-10T11:56:00", "2026-07-10T12:03:00"),
        ("5 hour", "2026-07-10T12:00:00", "2026-07-10T09:00:00", "2026-07-10T14:00:00"),
        ("5 hour", "2026-07-10T23:30:00", "2026-07-10T19:00:00", "2026-07-11T00:00:00"),
        ("36 hour", "2026-07-10T12:00:00", "2026-07-10T12:00:00", "2026-07-12T00:00:00"),
        ("36 hour", "2026-07-10T11:59:59", "2026-07-09T00:00:00", "2026-07-10T12:00:00"),
        ("2 day", "2026-07-10T12:00:00", "2026-07-10T00:00:00", "2026-07-12T00:00:00"),
        ("1 week", "2026-07-10T12:00:00", "2026-07-06T00:00:00", "2026-07-13T00:00:00"),
        ("1 week", "2026-07-13T00:00:00", "2026-07-13T00:00:00", "2026-07-20T00:00:00"),
        ("2 week", "2026-07-10T12:00:00", "2026-07-06T00:00:00", "2026-07-20T00:00:00"),
        ("1 month", "2026-07-10T12:00:00", "2026-07-01T00:00:00", "2026-08-01T00:00:00"),
        ("3 month", "2026-08-31T23:59:59", "2026-07-01T00:00:00", "2026-10-01T00:00:00"),
        ("5 month", "2026-07-10T12:00:00", "2026-04-01T00:00:00", "2026-09-01T00:00:00"),
        ("1 year", "2026-07-10T12:00:00", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("2 year", "2027-12-31T23:59:59", "2026-01-01T00:00:00", "2028-01-01T00:00:00"),
        ("1 week", "1970-01-03T12:00:00", "1969-12-29T00:00:00", "1970-01-05T00:00:00"),
    ],
)
async def test_r4_buckets_count_from_the_epoch_the_first_monday_or_the_calendar(
    ask: Ask, write: Write, interval: str, instant: str, start: str, end: str
) -> None:
    write([{"CreatedAt": at(instant)}])

    rows = await ask(
        interval=interval, startTs="1970-01-01T00:00:00Z", endTs="2030-01-01T00:00:00Z"
    )

    assert rows == [{"startTimestamp": f"{start}.000Z", "endTimestamp": f"{end}.000Z", "total": 1}]


async def test_r4_the_first_and_last_bucket_count_the_window_alone(ask: Ask, write: Write) -> None:
    hours = [at("2026-07-10T00:00") + timedelta(minutes=30 * step) for step in range(12)]
    write([{"CreatedAt": hour} for hour in hours])

    rows = await ask(
        interval="2 hour", startTs="2026-07-10T00:30:00Z", endTs="2026-07-10T04:30:00Z"
    )

    counts = [(row["startTimestamp"][11:16], row["total"]) for row in rows]
    assert counts == [("00:00", 3), ("02:00", 4), ("04:00", 1)]


async def test_r4_the_window_holds_its_start_and_not_its_end(ask: Ask, write: Write) -> None:
    start, end = at("2026-07-10T00:00"), at("2026-07-11T00:00")
    tick = timedelta(microseconds=1)
    write([{"CreatedAt": instant} for instant in (start - tick, start, end - tick, end)])

    rows = await ask(startTs="2026-07-10T00:00:00Z", endTs="2026-07-11T00:00:00Z")

    assert rows == [{"total": 2}]


INSTANTS: Final = tuple(
    sorted(
        {
            *(
                edge + timedelta(microseconds=offset)
                for year in (1970, 1972, 1999, 2000, 2024, 2026, 2038, 2100)
                for month in (1, 2, 3, 12)
                for edge in (datetime(year, month, 1, tzinfo=UTC),)
                for offset in (-1, 0, 1)
                if edge + timedelta(microseconds=offset) >= datetime(1970, 1, 1, tzinfo=UTC)
            ),
            *(
                datetime.fromtimestamp(seconds, UTC)
                for seconds in random.Random(4).sample(range(4_102_444_800), 400)  # noqa: S311
            ),
        }
    )
)


@pytest.fixture(scope="module")
async def instants(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("instants")
    write_rows(directory, [{"CreatedAt": instant} for instant in INSTANTS])
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


@given(
    interval=st.builds(Interval, st.integers(1, 40), st.sampled_from(INTERVAL_UNITS)),
    window=st.tuples(st.sampled_from(INSTANTS), st.sampled_from(INSTANTS)).filter(
        lambda pair: pair[0] < pair[1]
    ),
)
@example(interval=Interval(1, "week"), window=(INSTANTS[0], INSTANTS[-1]))
@example(interval=Interval(1, "second"), window=(INSTANTS[0], INSTANTS[-1]))
@settings(max_examples=60, deadline=None)
async def test_r4_the_engine_fills_the_buckets_that_the_interval_computes(
    instants: DuckDBBackend, interval: Interval, window: tuple[datetime, datetime]
) -> None:
    start, end = window
    expected = Counter(interval.floor(i) for i in INSTANTS if start <= i < end)
    query = Query(
        datasource="modelMetrics",
        type="timeseries",
        start_ts=start,
        end_ts=end,
        interval=interval,
    )

    result = await instants.query(query, LOCAL)

    assert [(point.start, point.values[0]) for point in result.points] == sorted(expected.items())


# --- R5 and R24: teams ---


TEAMED: Final = (
    {"ModelName": "a", "InputTokens": 1, "Teams": ["search", "support"]},
    {"ModelName": "a", "InputTokens": 2, "Teams": ["search"]},
    {"ModelName": "b", "InputTokens": 4, "Teams": []},
    {"ModelName": "b", "InputTokens": 8, "Teams": None},
    {"ModelName": "b", "InputTokens": 16, "Teams": [None]},
)


async def test_r5_a_row_stands_under_each_of_its_teams_and_nothing_vanishes(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["team"], aggregations=["sum inputTokens"])

    assert rows == [
        {"team": None, "total": 3, "sumInputTokens": 28},
        {"team": "search", "total": 2, "sumInputTokens": 3},
        {"team": "support", "total": 1, "sumInputTokens": 1},
    ]


async def test_r5_a_team_listed_twice_counts_once(ask: Ask, write: Write) -> None:
    write([{"Teams": ["search", "search"], "InputTokens": 5}])

    rows = await ask(groupBy=["team"], aggregations=["sum inputTokens", "count team"])

    assert rows == [{"team": "search", "total": 1, "sumInputTokens": 5, "countTeam": 1}]


async def test_r5_a_null_among_the_teams_makes_no_group_beside_a_name(
    ask: Ask, write: Write
) -> None:
    write([{"Teams": ["search", None]}])

    assert await ask(groupBy=["team"]) == [{"team": "search", "total": 1}]


async def test_r5_teams_split_a_timeseries_and_go_with_other_dimensions(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["modelName", "team"], interval="1 day")

    assert [(row["modelName"], row["team"], row["total"]) for row in rows] == [
        ("b", None, 3),
        ("a", "search", 2),
        ("a", "support", 1),
    ]


async def test_r24_count_of_team_is_rows_with_a_team_and_distinct_is_their_names(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(aggregations=["count team", "countDistinct team"])
    by_model = await ask(groupBy=["modelName"], aggregations=["count team", "countDistinct team"])

    assert rows == [{"total": 5, "countTeam": 2, "countDistinctTeam": 2}]
    assert by_model == [
        {"modelName": "b", "total": 3, "countTeam": 0, "countDistinctTeam": 0},
        {"modelName": "a", "total": 2, "countTeam": 2, "countDistinctTeam": 2},
    ]


async def test_r24_under_team_they_are_of_that_teams_rows(ask: Ask, write: Write) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["team"], aggregations=["count team", "countDistinct team"])

    assert [(r["team"], r["countTeam"], r["countDistinctTeam"]) for r in rows] == [
        (None, 0, 0),
        ("search", 2, 2),
        ("support", 1, 2),
    ]


# --- R6: metadata ---


async def test_r6_a_row_without_the_key_or_without_metadata_has_null(
    ask: Ask, write: Write
) -> None:
    write(
        [
            {"Metadata": {"environment": "production"}},
            {"Metadata": {"environment": ""}},
            {"Metadata": {"other": "x"}},
            {"Metadata": {}},
            {"Metadata": None},
        ]
    )

    rows = await ask(groupBy=["metadata.environment"])

    assert rows == [
        {"metadata.environment": None, "total": 3},
        {"metadata.environment": "", "total": 1},
        {"metadata.environment": "production", "total": 1},
    ]


KEYS: Final = (
    "a.b.c",
    "with space",
    "quote'single",
    'quote"double',
    "back\\slash",
    "$p0",
    "]; --",
    "ключ",
    "🔑",
    "metadata.nested",
    "null",
)


@pytest.mark.parametrize("key", KEYS)
async def test_r6_a_key_of_any_text_is_literal(ask: Ask, write: Write, key: str) -> None:
    write([{"Metadata": {key: "yes", "a": "no"}}, {"Metadata": {"a": "no"}}])

    rows = await ask(groupBy=[f"metadata.{key}"])
    filtered = await ask(filters=[(f"metadata.{key}", "EQUAL", "yes")])

    name = f"metadata.{key}"
    assert rows == [{name: "yes", "total": 1}, {name: None, "total": 1}]
    assert filtered == [{"total": 1}]


async def test_r6_two_keys_split_rows_by_both(ask: Ask, write: Write) -> None:
    write([{"Metadata": {"a": "1", "b": "2"}}, {"Metadata": {"a": "1"}}])

    rows = await ask(groupBy=["metadata.b", "metadata.a"])

    assert rows == [
        {"metadata.b": "2", "metadata.a": "1", "total": 1},
        {"metadata.b": None, "metadata.a": "1", "total": 1},
    ]


# --- R7 and R8: subjects ---


SUBJECTS: Final = (
    ("user 1", "analyst-1@example.com", "user"),
    ("user 2", "analyst-2@example.com", "user"),
    ("bot 1", "checkout-bot", "virtualaccount"),
    ("same user", "shared", "user"),
    ("same bot", "shared", "virtualaccount"),
    ("no slug user", None, "user"),
    ("no slug bot", None, "virtualaccount"),
)
SUBJECT_ROWS: Final = tuple(
    {"ModelName": name, "CreatedBySubjectSlug": slug, "CreatedBySubjectType": kind}
    for name, slug, kind in SUBJECTS
)
USERS: Final = {"analyst-1@example.com": 1, "analyst-2@example.com": 1, "shared": 1, None: 1}
BOTS: Final = {"checkout-bot": 1, "shared": 1, None: 1}


@pytest.mark.parametrize("datasource", DATASOURCES)
@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (["userEmail"], USERS),
        (["virtualaccount"], BOTS),
        (["userEmail", "virtualaccount"], Counter(USERS) + Counter(BOTS)),
        (["virtualaccount", "userEmail"], Counter(USERS) + Counter(BOTS)),
    ],
    ids=["user", "account", "both", "both turned round"],
)
async def test_r7_one_kind_of_subject_filters_and_both_share_one_key(
    ask: Ask,
    write: Write,
    datasource: DatasourceName,
    group_by: list[str],
    expected: dict[str | None, int],
) -> None:
    table = load_catalog().datasources[datasource].table
    looked_up = {"CacheLookupStatus": "hit"} if datasource == "cacheMetrics" else {}
    rows = [{**row, **looked_up} for row in SUBJECT_ROWS]
    write([{k: v for k, v in row.items() if k != "ModelName"} for row in rows], table=table)

    answer = await ask(datasource=datasource, groupBy=group_by)

    assert [set(row) for row in answer] == [{"createdBySubjectSlug", "total"}] * len(answer)
    assert {row["createdBySubjectSlug"]: row["total"] for row in answer} == expected


async def test_r7_the_shared_key_stands_where_the_first_of_the_two_stood(
    ask: Ask, write: Write
) -> None:
    write(SUBJECT_ROWS[:1])

    rows = await ask(groupBy=["userEmail", "modelName", "virtualaccount"])

    assert [list(row.items()) for row in rows] == [
        [
            ("createdBySubjectSlug", "analyst-1@example.com"),
            ("modelName", "user 1"),
            ("total", 1),
        ]
    ]


ALL_BOTS: Final = {"bot 1", "same bot", "no slug bot"}
ALL_USERS: Final = {"user 1", "user 2", "same user", "no slug user"}


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("userEmail", "EQUAL", "shared", {"same user"}),
        ("userEmail", "IN", ["shared", "checkout-bot"], {"same user"}),
        ("userEmail", "STRING_CONTAINS", "1@", {"user 1"}),
        ("userEmail", "STRING_STARTS_WITH", "analyst", {"user 1", "user 2"}),
        ("userEmail", "STRING_ENDS_WITH", "-bot", set()),
        ("userEmail", "GREATER_THAN", "analyst-1@example.com", {"user 2", "same user"}),
        ("userEmail", "NOT_EQUAL", "shared", {"user 1", "user 2", *ALL_BOTS}),
        ("userEmail", "NOT_IN", ["shared", "analyst-1@example.com"], {"user 2", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_CONTAINS", "1@", {"user 2", "same user", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_STARTS_WITH", "analyst", {"same user", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_ENDS_WITH", "d", {"user 1", "user 2", *ALL_BOTS}),
        ("virtualAccount", "EQUAL", "shared", {"same bot"}),
        ("virtualAccount", "IN", ["shared", "analyst-1@example.com"], {"same bot"}),
        ("virtualAccount", "STRING_CONTAINS", "out", {"bot 1"}),
        ("virtualAccount", "STRING_STARTS_WITH", "s", {"same bot"}),
        ("virtualAccount", "STRING_ENDS_WITH", "bot", {"bot 1"}),
        ("virtualAccount", "BETWEEN", ["c", "d"], {"bot 1"}),
        ("virtualAccount", "NOT_EQUAL", "shared", {"bot 1", *ALL_USERS}),
        ("virtualAccount", "NOT_IN", ["shared", "checkout-bot"], ALL_USERS),
        ("virtualAccount", "STRING_NOT_CONTAINS", "out", {"same bot", *ALL_USERS}),
        ("virtualAccount", "STRING_NOT_STARTS_WITH", "s", {"bot 1", *ALL_USERS}),
        ("virtualAccount", "STRING_NOT_ENDS_WITH", "bot", {"same bot", *ALL_USERS}),
    ],
)
async def test_r8_a_subject_filter_means_slug_and_kind_and_its_negation_the_whole(
    ask: Ask, write: Write, field: str, operator: str, value: object, expected: set[str]
) -> None:
    write(SUBJECT_ROWS)

    rows = await ask(groupBy=["modelName"], filters=[(field, operator, value)])

    assert names(rows) == expected


# --- R9: null ---


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NOT_EQUAL", "x"),
        ("NOT_IN", ["x", "y"]),
        ("STRING_NOT_CONTAINS", "x"),
        ("STRING_NOT_STARTS_WITH", "x"),
        ("STRING_NOT_ENDS_WITH", "x"),
    ],
)
@pytest.mark.parametrize("field", ["virtualModelName", "metadata.k"])
async def test_r9_null_never_matches_a_negative_operator(
    ask: Ask, write: Write, field: str, operator: str, value: object
) -> None:
    write(
        [
            {"ModelName": "null", "VirtualModelName": None, "Metadata": None},
            {"ModelName": "x", "VirtualModelName": "x", "Metadata": {"k": "x"}},
            {"ModelName": "z", "VirtualModelName": "z", "Metadata": {"k": "z"}},
        ]
    )

    rows = await ask(groupBy=["modelName"], filters=[(field, operator, value)])

    assert names(rows) == {"z"}


@pytest.mark.parametrize(
    ("datasource", "field", "column", "value"),
    [
        ("modelMetrics", "virtualModelName", "VirtualModelName", "v"),
        ("cacheMetrics", "isFailure", "IsFailure", False),
        ("agentMetrics", "httpStatusCode", "HttpStatusCode", 200),
    ],
)
async def test_r9_is_null_alone_reaches_null(
    ask: Ask, write: Write, datasource: DatasourceName, field: str, column: str, value: object
) -> None:
    table = load_catalog().datasources[datasource].table
    cached = {"CacheLookupStatus": "hit"} if datasource == "cacheMetrics" else {}
    write(
        [{column: None, **cached}, {column: value, **cached}, {column: value, **cached}],
        table=table,
    )

    null = await ask(datasource=datasource, filters=[(field, "IS_NULL", True)])
    known = await ask(datasource=datasource, filters=[(field, "IS_NULL", False)])

    assert (null, known) == ([{"total": 1}], [{"total": 2}])


async def test_r9_has_none_takes_a_null_array_as_empty(ask: Ask, write: Write) -> None:
    write(
        [
            {"ModelName": "null", "Teams": None},
            {"ModelName": "empty", "Teams": []},
            {"ModelName": "null inside", "Teams": [None]},
            {"ModelName": "search", "Teams": ["search", None]},
            {"ModelName": "both", "Teams": ["support", "search"]},
            {"ModelName": "other", "Teams": ["platform"]},
        ]
    )

    none = await ask(
        groupBy=["modelName"], filters=[("team", "ARRAY_HAS_NONE", ["search", "support"])]
    )
    some = await ask(
        groupBy=["modelName"], filters=[("team", "ARRAY_HAS_ANY", ["support", "platform"])]
    )

    assert names(none) == {"null", "empty", "null inside", "other"}
    assert names(some) == {"both", "other"}


# --- R10 and R11: comparisons ---


TEXTS: Final = (
    "",
    "a",
    "A",
    "ab",
    "a%b",
    "a_b",
    "axb",
    "%",
    "_",
    "100%",
    "it's",
    'say "hi"',
    "back\\slash",
    "\\%",
    "[a-z]",
    "a*",
    "$p0",
    "{p0:String}",
    "' OR 1=1 --",
    "\\N",
    "NULL",
    "tab\tnew\nline",
    " padded ",
    "é",
    "e\u0301",
    "ß",
    "SS",
    "ﬀ",
    "שלום",
    "مرحبا",
    "\u202eabc",
    "😀",
    "👩\u200d💻",
    "\uffff",
    "\U00010000",
    "zz",
)
_CHARACTERS: Final = st.characters(codec="utf-8", exclude_characters="\0")
_VALUES: Final = st.one_of(
    st.sampled_from(TEXTS),
    st.text(_CHARACTERS, max_size=4),
    st.text(st.sampled_from("aAb%_\\'\"é😀"), max_size=3),
    st.builds(
        lambda text, i, j: text[i:j], st.sampled_from(TEXTS), st.integers(0, 5), st.integers(1, 9)
    ),
)
_IN_PYTHON: Final[dict[str, Callable[[str, str], bool]]] = {
    "EQUAL": lambda text, value: text == value,
    "NOT_EQUAL": lambda text, value: text != value,
    "STRING_CONTAINS": lambda text, value: value in text,
    "STRING_NOT_CONTAINS": lambda text, value: value not in text,
    "STRING_STARTS_WITH": lambda text, value: text.startswith(value),
    "STRING_NOT_STARTS_WITH": lambda text, value: not text.startswith(value),
    "STRING_ENDS_WITH": lambda text, value: text.endswith(value),
    "STRING_NOT_ENDS_WITH": lambda text, value: not text.endswith(value),
    "GREATER_THAN": lambda text, value: text > value,
    "LESS_THAN": lambda text, value: text < value,
    "GREATER_THAN_EQUAL": lambda text, value: text >= value,
    "LESS_THAN_EQUAL": lambda text, value: text <= value,
}


@pytest.fixture(scope="module")
async def texts(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("texts")
    rows = [{"ModelName": text, "Metadata": {"k": text}} for text in TEXTS]
    write_rows(directory, [*rows, {"ModelName": None, "Metadata": None}])
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


async def _matching(
    backend: DuckDBBackend, make: Make, field: str, operator: str, value: object
) -> set[str]:
    query = make(groupBy=["modelName"], filters=[(field, operator, value)])
    result = await backend.query(query, LOCAL)
    return {str(point.keys[0]) for point in result.points}


@given(operator=st.sampled_from(sorted(_IN_PYTHON)), value=_VALUES)
@example(operator="GREATER_THAN", value="\uffff")
@example(operator="STRING_CONTAINS", value="%")
@example(operator="STRING_STARTS_WITH", value="a_")
@example(operator="STRING_ENDS_WITH", value="\\")
@example(operator="EQUAL", value="A")
@settings(max_examples=100, deadline=None)
async def test_r10_text_compares_as_python_compares_it(
    texts: DuckDBBackend, make_query: Make, operator: str, value: str
) -> None:
    holds = _IN_PYTHON[operator]

    found = await _matching(texts, make_query, "modelName", operator, value)

    assert found == {text for text in TEXTS if holds(text, value)}


@given(
    operator=st.sampled_from([name for name in sorted(_IN_PYTHON) if "THAN" not in name]),
    value=_VALUES,
)
@settings(max_examples=60, deadline=None)
async def test_r10_metadata_compares_likewise(
    texts: DuckDBBackend, make_query: Make, operator: str, value: str
) -> None:
    holds = _IN_PYTHON[operator]

    found = await _matching(texts, make_query, "metadata.k", operator, value)

    assert found == {text for text in TEXTS if holds(text, value)}


@given(values=st.lists(_VALUES, min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
async def test_r10_a_list_holds_its_literal_members(
    texts: DuckDBBackend, make_query: Make, values: list[str]
) -> None:
    inside = await _matching(texts, make_query, "modelName", "IN", values)
    outside = await _matching(texts, make_query, "modelName", "NOT_IN", values)

    assert inside == set(TEXTS) & set(values)
    assert outside == set(TEXTS) - set(values)


@given(bounds=st.tuples(_VALUES, _VALUES).map(sorted))
@settings(max_examples=40, deadline=None)
async def test_r11_between_texts_holds_both_ends(
    texts: DuckDBBackend, make_query: Make, bounds: list[str]
) -> None:
    low, high = bounds

    found = await _matching(texts, make_query, "modelName", "BETWEEN", bounds)

    assert found == {text for text in TEXTS if low <= text <= high}


NUMBERS: Final = (-1.5, 0.0, 0.1, 1.0, 2.0, 2.5, 1e3, 123456789.125, 2.0**53, 1e300)
_NUMBER_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "GREATER_THAN": lambda number, value: number > value,
    "LESS_THAN": lambda number, value: number < value,
    "GREATER_THAN_EQUAL": lambda number, value: number >= value,
    "LESS_THAN_EQUAL": lambda number, value: number <= value,
    "EQUAL": lambda number, value: number == value,
}


@pytest.fixture(scope="module")
async def numbers(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("numbers")
    odd = (math.nan, math.inf, -math.inf, None)
    write_rows(
        directory, [{"ModelName": repr(number), "LatencyMs": number} for number in (*NUMBERS, *odd)]
    )
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


@given(
    operator=st.sampled_from(sorted(_NUMBER_OPERATORS)),
    value=st.sampled_from(NUMBERS)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False),
)
@settings(max_examples=80, deadline=None)
async def test_r11_numbers_compare_as_python_compares_them_and_nan_never_matches(
    numbers: DuckDBBackend, make_query: Make, operator: str, value: float
) -> None:
    holds = _NUMBER_OPERATORS[operator]

    found = await _matching(numbers, make_query, "latencyMs", operator, value)

    assert found == {repr(number) for number in NUMBERS if holds(number, value)}


async def test_r11_between_numbers_holds_both_ends(
    numbers: DuckDBBackend, make_query: Make
) -> None:
    found = await _matching(numbers, make_query, "latencyMs", "BETWEEN", [0, 2.0])

    assert found == {"0.0", "0.1", "1.0", "2.0"}


def test_r11_low_above_high_is_refused(make_query: Make) -> None:
    with pytest.raises(InvalidQueryError, match=r"filters\[0\]"):
        make_query(filters=[("latencyMs", "BETWEEN", [2, 1])])


async def test_filters_hold_all_together(ask: Ask, write: Write) -> None:
    write([{"ModelName": name, "LatencyMs": ms} for name in "ab" for ms in (1.0, 2.0)])

    rows = await ask(
        filters=[("modelName", "EQUAL", "a"), ("latencyMs", "GREATER_THAN", 1)],
    )

    assert rows == [{"total": 1}]


# --- R12 and R13: percentiles and distinct counts ---


def interpolate(values: list[float], fraction: float) -> float:
    """The continuous percentile: linear between the two nearest ranks."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


async def test_r12_percentiles_are_exact_and_linearly_interpolated(ask: Ask, write: Write) -> None:
    rng = random.Random(12)  # noqa: S311 - test data
    latencies = {
        f"m{size}": [rng.lognormvariate(6, 2) for _ in range(size)]
        for size in (1, 2, 3, 10, 101, 1500)
    }
    write([{"ModelName": m, "LatencyMs": ms} for m, values in latencies.items() for ms in values])

    rows = await ask(
        groupBy=["modelName"], aggregations=[f"{name} latencyMs" for name in PERCENTILES]
    )

    assert len(rows) == len(latencies)
    for row in rows:
        expected = {
            f"{name}LatencyMs": pytest.approx(
                interpolate(latencies[row["modelName"]], f), rel=1e-12
            )
            for name, f in PERCENTILES.items()
        }
        assert {key: row[key] for key in expected} == expected


async def test_r12_each_percentile_stands_under_its_own_name_in_any_order(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": float(n), "InputTokens": n * 10} for n in range(101)])

    (row,) = await ask(
        aggregations=[
            "p99 latencyMs",
            "p5 inputTokens",
            "max latencyMs",
            "p50 latencyMs",
            "p90 inputTokens",
            "p5 latencyMs",
        ]
    )

    assert list(row.items()) == [
        ("total", 101),
        ("p99LatencyMs", 99),
        ("p5InputTokens", 50),
        ("maxLatencyMs", 100),
        ("p50LatencyMs", 50),
        ("p90InputTokens", 900),
        ("p5LatencyMs", 5),
    ]


async def test_r13_distinct_counts_are_exact_and_leave_nulls_out(ask: Ask, write: Write) -> None:
    values = [None, *(n % 2500 for n in range(5000))]
    write([{"InputTokens": v, "ModelName": None if v is None else f"m{v}"} for v in values])

    rows = await ask(aggregations=["countDistinct inputTokens", "countDistinct modelName"])

    assert rows == [
        {"total": 5001, "countDistinctInputTokens": 2500, "countDistinctModelName": 2500}
    ]


# --- R14: rates ---


RATES: Final = [
    f"{name} inputTokens" for name in ("rateSum", "rateAvg", "rateMin", "rateMax", "ratePerMinute")
]


@pytest.mark.parametrize(
    ("interval", "instant", "seconds"),
    [
        ("1 hour", "2026-07-10T12:00", 3600),
        ("2 week", "2026-07-10T12:00", 1_209_600),
        ("1 month", "2026-02-10T12:00", 28 * 86_400),
        ("1 month", "2028-02-10T12:00", 29 * 86_400),
        ("1 month", "2026-07-10T12:00", 31 * 86_400),
        ("3 month", "2028-02-10T12:00", 91 * 86_400),
        ("1 year", "2028-07-10T12:00", 366 * 86_400),
        ("1 year", "2100-07-10T12:00", 365 * 86_400),
    ],
)
async def test_r14_rates_divide_by_the_buckets_own_full_length(
    ask: Ask, write: Write, interval: str, instant: str, seconds: int
) -> None:
    write([{"CreatedAt": at(instant), "InputTokens": n} for n in (100, 250, None)])

    (row,) = await ask(
        interval=interval,
        startTs=f"{instant}:00Z",  # inside the bucket: its full length counts all the same
        endTs="2101-01-01T00:00:00Z",
        aggregations=RATES,
    )

    del row["startTimestamp"], row["endTimestamp"]
    assert row == {
        "total": 3,
        "rateSumInputTokens": pytest.approx(350 / seconds, rel=1e-12),
        "rateAvgInputTokens": pytest.approx(175 / seconds, rel=1e-12),
        "rateMinInputTokens": pytest.approx(100 / seconds, rel=1e-12),
        "rateMaxInputTokens": pytest.approx(250 / seconds, rel=1e-12),
        "ratePerMinuteInputTokens": pytest.approx(350 / (seconds / 60), rel=1e-12),
    }


async def test_r14_a_rate_of_nothing_is_null(ask: Ask, write: Write) -> None:
    write([{"InputTokens": None}])

    (row,) = await ask(interval="1 day", aggregations=RATES)

    assert [row[key] for key in row if key.startswith("rate")] == [None] * 5


@pytest.mark.parametrize("rate", RATES)
def test_r14_a_distribution_has_no_rates(make_query: Make, rate: str) -> None:
    with pytest.raises(InvalidQueryError, match="needs a timeseries"):
        make_query(aggregations=[rate])


# --- R15 to R17: order, the cache's rows, timestamps ---


async def test_r15_a_distribution_goes_by_total_then_keys_with_nulls_last(
    ask: Ask, write: Write
) -> None:
    once: list[tuple[str | None, str | None]] = [
        ("b", "x"),
        ("a", None),
        ("a", "z"),
        ("a", "x"),
        (None, "x"),
    ]
    once += [("é", "x"), ("Z", "x"), ("😀", "x"), ("\uffff", "x")]
    keys = [*once, *[("z", "z")] * 3]
    write([{"ModelName": model, "RequestType": request} for model, request in keys])

    rows = await ask(groupBy=["modelName", "requestType"])

    assert [(row["modelName"], row["requestType"]) for row in rows] == [
        ("z", "z"),
        ("Z", "x"),
        ("a", "x"),
        ("a", "z"),
        ("a", None),
        ("b", "x"),
        ("é", "x"),
        ("\uffff", "x"),
        ("😀", "x"),
        (None, "x"),
    ]


async def test_r15_a_timeseries_goes_by_time_then_as_a_distribution(ask: Ask, write: Write) -> None:
    days = {"2026-07-11T00:00": ["b", "a", None], "2026-07-10T00:00": ["b", "b", "a", None, None]}
    write([{"CreatedAt": at(day), "ModelName": name} for day, row in days.items() for name in row])

    rows = await ask(groupBy=["modelName"], interval="1 day")

    assert [(row["startTimestamp"][8:10], row["modelName"], row["total"]) for row in rows] == [
        ("10", "b", 2),
        ("10", None, 2),
        ("10", "a", 1),
        ("11", "a", 1),
        ("11", "b", 1),
        ("11", None, 1),
    ]


async def test_r16_cache_metrics_hold_the_calls_that_looked_in_the_cache(
    ask: Ask, write: Write
) -> None:
    write([{"CacheLookupStatus": status} for status in ("hit", "miss", "miss", None)])

    cache = await ask(datasource="cacheMetrics", groupBy=["cacheLookupStatus"])
    calls = await ask(datasource="modelMetrics")

    assert cache == [
        {"cacheLookupStatus": "miss", "total": 2},
        {"cacheLookupStatus": "hit", "total": 1},
    ]
    assert calls == [{"total": 4}]


async def test_r17_and_r21_a_body_is_data_points_with_milliseconds_and_z(
    engine: Open, write: Write, make_query: Make
) -> None:
    write([{"ModelName": "gpt-4o", "CostInUSD": 0.25}])
    query = make_query(interval="1 hour", groupBy=["modelName"], aggregations=["sum costInUSD"])

    result = await engine().query(query, LOCAL)

    assert result.to_body(query) == {
        "data": {
            "dataPoints": [
                {
                    "startTimestamp": "2026-07-10T12:00:00.000Z",
                    "endTimestamp": "2026-07-10T13:00:00.000Z",
                    "modelName": "gpt-4o",
                    "total": 1,
                    "sumCostInUSD": 0.25,
                }
            ]
        }
    }


# --- R19: the cap ---


@pytest.mark.parametrize("changes", [{}, {"interval": "1 day"}], ids=["rows", "buckets"])
async def test_r19_more_rows_than_the_cap_are_refused_with_their_number(
    engine: Open, ask: Ask, write: Write, changes: dict[str, str]
) -> None:
    write(
        [
            {"Metadata": {"run": f"r{n}"}, "CreatedAt": UTC_NOON + timedelta(days=n)}
            for n in range(12)
        ]
    )

    with pytest.raises(TooManyRowsError, match=r"12 rows, the limit is 11\. Ask a shorter"):
        await ask(engine(row_cap=11), groupBy=["metadata.run"], **changes)
    assert len(await ask(engine(row_cap=12), groupBy=["metadata.run"], **changes)) == 12


# --- R22: numbers ---


async def test_r22_sums_of_tokens_are_exact_integers_whatever_their_size(
    ask: Ask, write: Write
) -> None:
    largest = 2**63 - 1
    write([{"ModelName": "past 2^53", "InputTokens": n} for n in (2**53, 1)])
    write([{"ModelName": "past 2^63", "InputTokens": largest} for _ in range(3)], name="b.parquet")

    rows = await ask(
        groupBy=["modelName"],
        aggregations=["sum inputTokens", "max inputTokens", "count inputTokens"],
    )

    sums = {row["modelName"]: row["sumInputTokens"] for row in rows}
    assert sums == {"past 2^53": 2**53 + 1, "past 2^63": 3 * largest}
    assert {type(row[key]) for row in rows for key in row if key != "modelName"} == {int}
    assert rows[0]["maxInputTokens"] == largest


async def test_r22_sums_of_money_keep_double_precision(ask: Ask, write: Write) -> None:
    costs = [0.1, 0.2, 1e-9, 1234567.875]
    write([{"CostInUSD": cost} for cost in costs])

    (row,) = await ask(aggregations=["sum costInUSD"])

    assert row["sumCostInUSD"] == pytest.approx(math.fsum(costs), rel=1e-15)


async def test_r22_nan_and_infinity_never_appear_and_poison_nothing(ask: Ask, write: Write) -> None:
    odd = (math.nan, math.inf, -math.inf, None)
    write([{"ModelName": "mixed", "LatencyMs": ms} for ms in (1.0, 3.0, *odd)])
    write([{"ModelName": "odd alone", "LatencyMs": ms} for ms in odd[:3]], name="b.parquet")

    rows = await ask(
        groupBy=["modelName"],
        aggregations=[
            f"{name} latencyMs"
            for name in ("sum", "avg", "min", "max", "p50", "count", "countDistinct")
        ],
    )

    assert [list(row.values()) for row in rows] == [
        ["mixed", 6, 4.0, 2.0, 1.0, 3.0, 2.0, 2, 2],
        ["odd alone", 3, None, None, None, None, None, 0, 0],
    ]


async def test_r22_a_sum_too_large_for_a_double_is_null_and_not_infinity(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": 1.5e308}, {"LatencyMs": 1.5e308}])

    assert await ask(aggregations=["sum latencyMs"]) == [{"total": 2, "sumLatencyMs": None}]


# --- R23: whose rows ---


OWNED: Final[tuple[tuple[str, str | None, str | None, list[str] | None], ...]] = (
    ("mine", "shared", "user", ["search"]),
    ("the bot's", "shared", "virtualaccount", ["platform"]),
    ("a team mate's", "analyst-2@example.com", "user", ["platform", "search"]),
    ("a stranger's", "analyst-3@example.com", "user", ["support"]),
    ("nobody's", None, None, None),
    ("teamless", "analyst-4@example.com", "user", []),
)


@pytest.mark.parametrize(
    ("slug", "kind", "teams", "expected"),
    [
        ("shared", "user", (), {"mine"}),
        ("shared", "virtualaccount", (), {"the bot's"}),
        ("shared", "user", ("search",), {"mine", "a team mate's"}),
        ("shared", "virtualaccount", ("search", "support"), {
            "mine", "the bot's", "a team mate's", "a stranger's"
        }),
        ("absent", "user", ("platform",), {"the bot's", "a team mate's"}),
        ("absent", "user", (), set()),
        ("SHARED", "user", ("Search", "sea%"), set()),
        ("", "user", ("",), set()),
    ],
)  # fmt: skip
async def test_r23_a_caller_sees_the_own_rows_and_those_of_the_own_teams(
    ask: Ask, write: Write, slug: str, kind: SubjectType, teams: tuple[str, ...], expected: set[str]
) -> None:
    write(
        [
            {"ModelName": n, "CreatedBySubjectSlug": s, "CreatedBySubjectType": k, "Teams": t}
            for n, s, k, t in OWNED
        ]
    )
    caller = Caller(slug, kind, frozenset(teams))
    admin = Caller(slug, kind, is_tenant_admin=True)

    assert names(await ask(caller=caller, groupBy=["modelName"])) == expected
    assert await ask(caller=caller) == [{"total": len(expected)}]
    assert await ask(caller=admin) == [{"total": len(OWNED)}]


async def test_r23_no_filter_widens_what_a_caller_sees(ask: Ask, write: Write) -> None:
    write(
        [
            {"ModelName": n, "CreatedBySubjectSlug": s, "CreatedBySubjectType": k, "Teams": t}
            for n, s, k, t in OWNED
        ]
    )
    caller = Caller("shared", "user")

    for name, operator, value in (
        ("userEmail", "NOT_EQUAL", "shared"),
        ("virtualAccount", "NOT_EQUAL", "absent"),
        ("team", "ARRAY_HAS_NONE", ["absent"]),
    ):
        rows = await ask(caller=caller, groupBy=["modelName"], filters=[(name, operator, value)])
        assert names(rows) <= {"mine"}


# --- all documented questions ---


@pytest.mark.parametrize("body", EXAMPLES, ids=[str(index) for index in range(len(EXAMPLES))])
async def test_every_documented_question_is_answered(
    engine: Open, write: Write, body: dict[str, Any]
) -> None:
    catalog = load_catalog()
    query = read_query(body, catalog)
    start = query.start_ts
    write([{"CreatedAt": start}], table=catalog.datasources[query.datasource].table)

    result = await engine().query(query, LOCAL)

    assert len(result.points) <= 1
    assert all(len(point.values) == len(result.value_names) for point in result.points)
