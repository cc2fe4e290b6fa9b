"""Values are read by the letter; a row with one that is not of its type is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Write = Callable[..., Path]
CREATED: Final = {"CreatedAt": "2026-07-10T00:00Z"}


GOOD: Final[list[tuple[str, Any, Any]]] = [
    ("InputTokens", "9007199254740993", 9007199254740993),
    ("InputTokens", " 12.000 ", 12),
    ("InputTokens", -3, -3),
    ("InputTokens", "", None),
    ("InputTokens", "1.5", 2),
    ("InputTokens", 2.5, 3),
    ("InputTokens", "-0.5", -1),
    ("InputTokens", "0.4999999999999999999999", 0),
    ("InputTokens", "9007199254740993.0", 9007199254740993),
    ("HttpStatusCode", 200.0, 200),
    ("LatencyMs", ".5e-3", 0.0005),
    ("LatencyMs", 1e300, 1e300),
    ("Streaming", True, True),
    ("Streaming", "FALSE", False),
    ("Streaming", 1, True),
    ("Streaming", "0", False),
    ("ModelName", "", ""),
    ("ModelName", "  π\t", "  π\t"),
    ("ModelName", 4.5, "4.5"),
    ("Metadata", {"a": 1, "b": {"c": [True]}}, {"a": "1", "b": '{"c":[true]}'}),
    ("Metadata", '{"a": "x"}', {"a": "x"}),
    ("Metadata", {}, {}),
    ("Metadata", "null", None),
    ("AppliedConfigIds", {"a": ["x", "y"]}, {"a": ["x", "y"]}),
    ("Teams", ["a", "b, c"], ["a", "b, c"]),
    ("Teams", '["a"]', ["a"]),
    ("Teams", "a, b,,", ["a", "b"]),
    ("Teams", [], []),
    ("Teams", None, None),
]
BAD: Final[list[tuple[str, Any, str]]] = [
    ("InputTokens", "1e3", "not a whole number"),
    ("InputTokens", "1,000", "not a whole number"),
    ("InputTokens", "99999999999999999999", "not a whole number"),
    ("HttpStatusCode", "3000000000", "not a whole number of 32 bits"),
    ("LatencyMs", "NaN", "not a number"),
    ("LatencyMs", "inf", "not a number"),
    ("LatencyMs", "1e999", "not a number"),
    ("LatencyMs", "0x10", "not a number"),
    ("Streaming", "yes", "not true, false, 0 or 1"),
    ("Metadata", "a=b", "not a JSON object"),
    ("Metadata", [1], "not a JSON object"),
    ("Metadata", '{"a": 1, "a": 2}', "not a JSON object"),
    ("AppliedConfigIds", "[]", "not a JSON object of lists"),
    ("Teams", "[a", "not a list"),
    ("CreatedAt", "yesterday", "not an ISO 8601 date and time"),
    ("CreatedAt", "2026-07-10", "not an ISO 8601 date and time"),
    ("CreatedAt", 1783641600, "not an ISO 8601 date and time"),
    ("CreatedAt", "2026-07-10T24:00Z", "not an ISO 8601 date and time"),
    ("CreatedAt", "2026-07-10T23:59:60Z", "not an ISO 8601 date and time"),
    ("CreatedAt", "2026-02-30T00:00Z", "no such date"),
    ("CreatedAt", "2026-07-10T00:00", "no UTC offset: give --timezone"),
    ("CreatedAt", "1969-12-31T23:59Z", "not between 1970 and 2999"),
    ("CreatedAt", "", "empty"),
    ("CreatedAt", None, "empty"),
]


def test_values_are_read(data: Data, jsonl: Write) -> None:
    rows = [
        CREATED | {"SpanId": f"{n:03}", column: value} for n, (column, value, _) in enumerate(GOOD)
    ]

    assert data.bring(jsonl(rows), "--strict").code == 0

    columns = list(dict.fromkeys(column for column, *_ in GOOD))
    found = data.rows(", ".join(f'"{column}"' for column in columns))
    for row, (column, value, read) in zip(found, GOOD, strict=True):
        assert row[columns.index(column)] == read, (column, value)


def test_a_value_of_another_type_refuses_the_row(data: Data, jsonl: Write) -> None:
    rows = [CREATED | {column: value} for column, value, _ in BAD]

    data.bring(jsonl([CREATED, *rows]))

    (refused,) = data.path.rglob("_refused.jsonl")
    reasons = [json.loads(line)["_reason"] for line in refused.read_text().splitlines()]
    assert reasons == [f"{column}: {reason}" for column, _, reason in BAD]
    assert len(data.rows()) == 1


def test_a_file_of_which_no_row_is_good_is_not_imported(data: Data, jsonl: Write) -> None:
    done = data.bring(jsonl([CREATED | {"InputTokens": "many"}]))

    assert done.code == 1
    assert done.err.splitlines() == [
        "gateway-metrics-mcp import: nothing was imported: 1 of 1 rows are refused",
        "  1 refused: InputTokens: not a whole number (first: calls.jsonl, row 1)",
    ]
    assert data.files() == {}


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-07-10 18:17:03.9799699Z", None, "2026-07-10 18:17:03.979969+00"),
        ("2026-07-10t18:17z", None, "2026-07-10 18:17:00+00"),
        ("2026-07-10T18:17:03,5 UTC", None, "2026-07-10 18:17:03.5+00"),
        ("2026-07-10T00:17+02", None, "2026-07-09 22:17:00+00"),
        ("2026-07-10 18:17:03-05:30", "Asia/Tokyo", "2026-07-10 23:47:03+00"),
        ("2026-07-10T18:17", "UTC", "2026-07-10 18:17:00+00"),
        ("2026-07-10T18:17", "Europe/Berlin", "2026-07-10 16:17:00+00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25 00:30:00+00"),  # the first of two
        ("2026-04-05T01:45", "Australia/Lord_Howe", "2026-04-04 14:45:00+00"),  # likewise
    ],
)
def test_a_time_is_an_instant(
    data: Data, csv: Write, text: str, zone: str | None, instant: str
) -> None:
    zoned = ["--timezone", zone] if zone else []

    assert data.bring(csv(f'CreatedAt\n"{text}"\n'), *zoned).code == 0
    assert data.rows('"CreatedAt"::VARCHAR') == [(instant,)]


def test_a_time_that_the_clocks_skip_is_refused(data: Data, csv: Write) -> None:
    done = data.bring(csv("CreatedAt\n2026-03-29 02:30\n"), "--timezone", "Europe/Berlin")

    assert "CreatedAt: skipped by the clocks of Europe/Berlin" in done.err


def test_refused_rows_lie_beside_and_can_be_mended_and_imported(
    data: Data, csv: Write, tmp_path: Path
) -> None:
    text = "at,tokens,note\n2026-07-10T00:00Z,5,a\n2026-07-10T01:00Z,six,b\nnever,?,c\n"
    wishes = ("--map", "CreatedAt=at,InputTokens=tokens")

    data.bring(csv(text), *wishes)

    (refused,) = data.path.rglob("_refused.jsonl")
    rows = [json.loads(line) for line in refused.read_text().splitlines()]
    assert rows == [
        {
            "_file": "calls.csv",
            "_row": 2,
            "_reason": "InputTokens: not a whole number",
            "at": "2026-07-10T01:00Z",
            "tokens": "six",
        },
        {
            "_file": "calls.csv",
            "_row": 3,
            "_reason": "CreatedAt: not an ISO 8601 date and time; InputTokens: not a whole number",
            "at": "never",
            "tokens": "?",
        },
    ]
    mended = tmp_path / "mended.jsonl"
    mended.write_text(refused.read_text().splitlines()[0].replace("six", "6"))
    assert data.bring(mended, *wishes).code == 0
    assert data.rows('"InputTokens"') == [(5,), (6,)]


def test_lines_that_are_no_rows_are_refused(data: Data, csv: Write, tmp_path: Path) -> None:
    first = csv("CreatedAt,ModelName\n2026-07-10T00:00Z,a\n2026-07-10T00:00Z\nx,y,z\n")
    second = tmp_path / "more.jsonl"
    second.write_text('{"CreatedAt": "2026-07-10T01:00Z", "ModelName": "b"}\n{"Created\n[1]\n3\n')

    done = data.bring(first, second)

    assert done.out.splitlines()[:4] == [
        "2 files: 7 rows read, 2 new, 5 refused",
        "  3 refused: the line is not a JSON object (first: more.jsonl, row 2)",
        "  1 refused: the line: missing columns (first: calls.csv, line 3)",
        "  1 refused: the line: too many columns (first: calls.csv, line 4)",
    ]
    assert data.rows('"ModelName"') == [("a",), ("b",)]


def test_strict_imports_nothing_if_a_row_is_refused(data: Data, csv: Write) -> None:
    good = csv("CreatedAt\n2026-07-10T00:00Z\n", "good.csv")
    bad = csv("CreatedAt\n2026-07-10T00:00Z\nnever\n", "bad.csv")

    done = data.bring(good, bad, "--strict")

    assert done.code == 1
    assert "nothing was imported: 1 of 3 rows are refused" in done.err
    assert data.files() == {}
