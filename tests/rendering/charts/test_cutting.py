"""Long names in pictures: cut where they are alike, so that the difference is left to read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.charts.labels import LONGEST, name_groups, shorten

Specify = Callable[..., Awaitable[dict[str, Any]]]

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
WEEK: Final = {**COST, "startTs": "2026-07-13", "endTs": "2026-07-15"}
NUMBERED: Final = re.compile(r" \(\d+\)$")
SIZES: Final = ("mini", "large", "nano", "01", "02", "03", "2024-08-06", "2024-11-20", "audio")
REGION: Final = "azure/eu-west-1/subscription-prod/"
MODELS: Final = (
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-haiku-4-5",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
)


def places(specification: dict[str, Any]) -> list[str]:
    domain: list[str] = specification["vconcat"][0]["encoding"]["y"]["scale"]["domain"]
    return domain


@pytest.mark.parametrize("end", ["", "/deployment-blue", "/a-rather-long-deployment-blue"])
@pytest.mark.parametrize("start", ["", "eu/", REGION])
async def test_names_that_differ_in_one_place_show_it(
    specify: Specify, make: Callable[..., Path], start: str, end: str
) -> None:
    models = [f"{start}gpt-4o-{size}{end}" for size in SIZES]
    directory = make([(13, 8, m, 20.0 - i, 1.0, "a@b.de") for i, m in enumerate(models)])
    shown = places(await specify(directory, WEEK))

    assert [size in name for size, name in zip(SIZES, shown, strict=True)] == [True] * len(SIZES)
    assert all(len(name) <= LONGEST for name in shown)
    assert not any(map(NUMBERED.search, shown))


async def test_each_of_several_keys_can_be_read(specify: Specify, demo: Path) -> None:
    asked = {
        **WEEK,
        "groupBy": ["createdBySubjectType", "modelName", "metadata.environment"],
        "filters": [{"fieldName": "modelName", "operator": "IN", "value": list(MODELS[:2])}],
    }
    *shown, rest = places(await specify(demo, asked))

    assert rest.startswith("other (")
    assert len(shown) == 12
    assert not any(map(NUMBERED.search, shown))
    assert all(("sonnet" in name) != ("haiku" in name) for name in shown), shown
    assert all(name.count(", ") == 2 for name in shown), shown


def test_a_short_key_leaves_its_room_to_a_long_one() -> None:
    rows = [("platform", model, "production") for model in MODELS]
    rows += [("search", model, "staging") for model in MODELS]

    assert name_groups(rows) == [
        "platform, …-sonnet-4-5, production",
        "platform, …-haiku-4-5, production",
        "platform, google…5-pro, production",
        "platform, google…flash, production",
        "search, ant…de-sonnet-4-5, staging",
        "search, ant…de-haiku-4-5, staging",
        "search, google/g…-2.5-pro, staging",
        "search, google/g….5-flash, staging",
    ]


def test_names_that_differ_in_two_places_show_both() -> None:
    start, middle = "arn:aws:bedrock:us-east-1:", ":inference-profile/us.anthropic.claude-"
    parts = [(account, m) for account in ("1234", "9876") for m in ("sonnet", "haiku", "opus")]
    names = [f"{start}{account}{middle}{m}-4-5-20250929-v1:0" for account, m in parts]

    for (account, model), name in zip(parts, shorten(names), strict=True):
        assert account in name
        assert model in name
        assert len(name) <= LONGEST


def test_names_that_are_equal_are_numbered_as_there_is_no_other_way() -> None:
    name = "x" * 60

    assert shorten([name, name]) == [f"{'x' * 17}…{'x' * 16}", f"{'x' * 15}…{'x' * 14} (2)"]


LETTERS: Final = st.text("ab-/", max_size=60)
DIFFERENT: Final = st.lists(st.text("ab1", max_size=20), min_size=2, max_size=12, unique=True)


@given(LETTERS, DIFFERENT, LETTERS)
def test_no_name_needs_a_number_where_they_differ_in_one_place(
    start: str, middles: Sequence[str], end: str
) -> None:
    names = shorten([start + middle + end for middle in middles])

    assert len(set(names)) == len(middles)
    assert all(len(name) <= LONGEST for name in names)
    assert not any(map(NUMBERED.search, names))


@given(st.integers(0, 2), LETTERS, DIFFERENT, LETTERS)
def test_no_group_needs_a_number_where_one_key_differs_in_one_place(
    place: int, start: str, middles: Sequence[str], end: str
) -> None:
    others = ["team-with-a-long-name", "an-environment-of-some-kind"]
    keys = [[*others[:place], start + middle + end, *others[place:]] for middle in middles]
    names = name_groups(keys)

    assert len(set(names)) == len(middles)
    assert all(len(name) <= LONGEST for name in names)
    assert not any(map(NUMBERED.search, names))


@given(st.lists(st.text("ab-…( 1)", max_size=90), min_size=1, max_size=14, unique=True))
def test_distinct_names_stay_distinct(names: Sequence[str]) -> None:
    shown = shorten(names)

    assert len(set(shown)) == len(names)
    assert all(len(name) <= LONGEST for name in shown)
    assert shown == shorten(names)


KEYS: Final = st.text("ab-", min_size=1, max_size=40)


@given(
    st.integers(1, 20).flatmap(
        lambda width: st.lists(st.tuples(*[KEYS] * width), min_size=1, max_size=12, unique=True)
    )
)
def test_groups_of_any_number_of_keys_stay_apart(groups: Sequence[tuple[str, ...]]) -> None:
    shown = name_groups(groups)

    assert len(set(shown)) == len(groups)
    assert all(0 < len(name) <= LONGEST for name in shown)
