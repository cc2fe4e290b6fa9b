"""The pages of a comparison are of one comparison: the hint holds both windows where they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

Row = dict[str, Any]
World = Any

NOW: Final = datetime(2026, 7, 15, 9, 30, 12, tzinfo=UTC)
MODELS: Final = 5
PER_PAGE: Final = 2
PERIODS: Final = [
    ("this month", "previous"),
    ("this week", "previous"),
    ("today", "previous"),
    ("2026-Q3", "previous"),
    ("this month", "last month"),
    ("today", "1 month"),
    ("now-36h", "previous"),
]
QUESTION: Final = {
    "aggregations": ["sum costInUSD"],
    "groupBy": ["modelName"],
    "limit": PER_PAGE,
}


def calls() -> Iterator[Row]:
    """Each model at each hour of both windows, and at each hour in another number."""
    start = datetime(2026, 5, 31, tzinfo=UTC)
    for hour in range(int((NOW - start) / timedelta(hours=1))):
        for model in range(MODELS):
            yield {
                "CreatedAt": start + timedelta(hours=hour),
                "ModelName": f"m{model}",
                "CostInUSD": float(hour % 7 + model),
            }


@pytest.fixture(scope="module")
def filled(world: World) -> World:
    world.fill(list(calls()))
    return world


def ask_all(world: World, question: Row, step: timedelta) -> list[tuple[str, list[Any]]]:
    """The text of each page with the windows it was asked of, as its hint says, `step` apart."""
    pages, asked, now = [], dict(question), NOW
    while True:
        text = world.ask(asked, now=now)
        sent = {(query.start_ts, query.end_ts) for query in world.recorder.sent}
        pages.append((text, sorted(sent)))
        if question["format"] == "json":
            following = json.loads(text)["next"]
        else:
            hint = re.search(r"^# \d+ more rows?: same arguments with (.+)$", text, re.MULTILINE)
            following = hint and dict(part.split("=") for part in hint[1].split(", "))
        if not following:
            return pages
        asked |= following
        now += step


@pytest.mark.parametrize("step", [timedelta(), timedelta(hours=1)], ids=["at once", "later"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(("period", "compared"), PERIODS)
def test_every_page_has_the_windows_and_the_all_row_of_the_first(
    filled: World, period: str, compared: str, zone: str | None, step: timedelta
) -> None:
    question = {**QUESTION, "startTs": period, "compareTo": compared, "timezone": zone}

    pages = ask_all(filled, {**question, "format": "table"}, step)

    texts = [text for text, _ in pages]
    rows = [line.partition("|")[0] for text in texts for line in text.split("\n")]
    assert sorted(row for row in rows if row.startswith("m")) == [
        *(f"m{model}" for model in range(MODELS)),
        *["modelName"] * len(pages),
    ]
    assert len(pages) == -(-MODELS // PER_PAGE)
    assert {text.split(" | ")[2] for text in texts} == {texts[0].split(" | ")[2]}
    assert "compared with" in texts[0]
    assert {text.split("\nALL|")[1].partition("\n")[0] for text in texts} == {
        texts[0].split("\nALL|")[1].partition("\n")[0]
    }
    assert [windows for _, windows in pages] == [pages[0][1]] * len(pages)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(("period", "compared"), PERIODS)
def test_the_pages_for_programs_are_of_one_comparison_too(
    filled: World, period: str, compared: str, zone: str | None
) -> None:
    question = {**QUESTION, "startTs": period, "compareTo": compared, "timezone": zone}

    whole = filled.read({**question, "limit": None})
    pages = ask_all(filled, {**question, "format": "json"}, timedelta(hours=1))

    bodies = [json.loads(text) for text, _ in pages]
    assert [row for body in bodies for row in body["rows"]] == whole["rows"]
    assert [body["all"] for body in bodies] == [whole["all"]] * len(bodies)
    assert [windows for _, windows in pages] == [pages[0][1]] * len(pages)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("2026-06-20T00:00Z..2026-06-01T00:00Z", "runs backwards"),
        ("2026-07-14T00:00Z..2026-07-14T09:00Z", "is not earlier than the window itself"),
        ("2026-06-01T00:00Z..2026-06-31T00:00Z", "2026-06 has 30 days"),
        ("2026-06-01T00:00Z..2026-06-31", "2026-06 has 30 days"),
    ],
)
def test_two_instants_that_are_no_earlier_window_are_refused(
    filled: World, ends: str, said: str
) -> None:
    text = filled.refusal({**QUESTION, "startTs": "this week", "compareTo": ends})

    assert said in text


def test_two_instants_are_the_window_between_them(filled: World) -> None:
    ends = "2026-06-01T06:00..2026-06-02T00:00Z"
    question = {"startTs": "this week", "timezone": "Europe/Berlin", "compareTo": ends}

    text = filled.ask(question, now=NOW)

    assert " | compared with 2026-06-01T04:00Z to 2026-06-02T00:00Z (20 h, Europe/Berlin)" in text
