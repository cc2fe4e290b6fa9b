"""Names in pictures: data and nothing else, short, told apart, and hidden where they are to be."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import CallToolResult
from vl_convert import vegalite_to_svg

from gateway_metrics_mcp.rendering.charts.labels import LONGEST, name_groups, shorten
from gateway_metrics_mcp.rendering.charts.vega import COLOURS

Ask = Callable[..., Awaitable[CallToolResult]]

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
WEEK: Final = {**COST, "startTs": "2026-07-13", "endTs": "2026-07-15"}
LINES: Final = {**WEEK, "interval": "1 day", "limit": 12}
CORPUS: Final[list[str]] = json.loads(
    (Path(__file__).parents[2] / "harm" / "corpus.json").read_text("utf-8")
)
PLACES: Final = frozenset(("values", "domain", "text", "subtitle"))
"""Where text of others may stand: rows, scales' domains and titles are never evaluated."""


def strings_in(part: Any, road: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every string of a specification with the names that lead to it."""
    if isinstance(part, str):
        yield road, part
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from strings_in(value, (*road, name))
    elif isinstance(part, list):
        for value in part:
            yield from strings_in(value, road)


async def specify(ask: Ask, directory: Path, arguments: dict[str, Any], **more: Any) -> Any:
    result = await ask(directory, arguments, ui=True, **more)
    assert not result.is_error, result.content
    assert result.meta is not None
    return result.meta["gateway-metrics/view"], result


@pytest.mark.parametrize("arguments", [WEEK, LINES], ids=["bars", "lines"])
async def test_hostile_names_are_drawn_as_text(
    ask: Ask, hostile: Path, arguments: dict[str, Any]
) -> None:
    specification, result = await specify(ask, hostile, arguments)
    svg = vegalite_to_svg(specification, allowed_base_urls=[])

    assert [block.type for block in result.content] == ["text", "image"]
    for shown in ("constructor", "__proto__", "datum.value", "signal", "other (3)"):
        assert shown in svg
    assert "<img" not in svg
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert "\x1b" not in svg


@pytest.mark.parametrize("arguments", [WEEK, LINES], ids=["bars", "lines"])
async def test_names_stand_only_where_nothing_is_evaluated(
    ask: Ask, hostile: Path, few: Path, arguments: dict[str, Any]
) -> None:
    theirs, _ = await specify(ask, hostile, arguments)
    ours, _ = await specify(ask, few, arguments)
    known = {*COLOURS, *(text for _, text in strings_in(ours))}
    strange = [(road, text) for road, text in strings_in(theirs) if text not in known]

    assert len(strange) > 10
    assert [road for road, _ in strange if not PLACES & set(road)] == []
    assert all(text.isprintable() for _, text in strange)


@pytest.mark.parametrize("interval", [{}, {"interval": "1 day"}], ids=["bars", "lines"])
async def test_names_of_properties_are_drawn(
    ask: Ask, make: Callable[..., Path], interval: dict[str, str]
) -> None:
    names = dir_of_objects()
    directory = make([(13, 8, name, 1.0, 1.0, "a@b.de") for name in names])
    some = [{"fieldName": "modelName", "operator": "IN", "value": names[:12]}]
    rest = [{"fieldName": "modelName", "operator": "NOT_IN", "value": names[:12]}]
    for filters in (some, rest):
        _, result = await specify(ask, directory, {**WEEK, **interval, "filters": filters})
        assert [block.type for block in result.content] == ["text", "image"]


def dir_of_objects() -> list[str]:
    """What each JavaScript object is born with, and words that mean nothing to it."""
    return [
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"),
        *("toLocaleString", "toString", "valueOf", "__defineGetter__", "__lookupSetter__"),
        *("__proto__", "prototype", "length", "undefined", "null", "NaN", "true", "0", "push"),
    ]


@pytest.mark.thorough
async def test_names_of_every_kind_are_drawn(ask: Ask, make: Callable[..., Path]) -> None:
    texts = sorted({text for text in CORPUS if text.strip() and "\x00" not in text})
    for first in range(0, len(texts), 12):
        some = texts[first : first + 12]
        directory = make([(13, 8, text, 1.0, 1.0, "a@b.de") for text in some])
        for interval in ({}, {"interval": "1 day", "limit": 12}):
            _, result = await specify(ask, directory, {**WEEK, **interval})

            assert [block.type for block in result.content] == ["text", "image"], some


async def test_long_names_are_cut_in_the_middle_and_stay_apart(
    ask: Ask, make: Callable[..., Path]
) -> None:
    long = "provider/" + "x" * 60
    directory = make([(13, 8, f"{long}-{end}", 1.0, 1.0, "a@b.de") for end in ("one", "two")])
    specification, _ = await specify(ask, directory, WEEK)
    places = specification["vconcat"][0]["encoding"]["y"]["scale"]["domain"]

    assert all(len(place) == LONGEST for place in places)
    assert {place[-4:] for place in places} == {"-one", "-two"}
    assert all(place.startswith("provider/xxx") and "…" in place for place in places)


async def test_a_field_that_is_the_same_in_all_groups_is_no_part_of_their_names(
    ask: Ask, few: Path
) -> None:
    specification, _ = await specify(ask, few, {**WEEK, "groupBy": ["modelName", "userEmail"]})

    assert specification["vconcat"][0]["encoding"]["y"]["scale"]["domain"] == ["gpt-4o", "claude"]


@pytest.mark.parametrize("arguments", [WEEK, LINES], ids=["bars", "lines"])
async def test_hidden_addresses_are_in_no_picture(
    ask: Ask, few: Path, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef\n", "utf-8")
    filters = [{"fieldName": "userEmail", "operator": "IN", "value": ["ada@example.com"]}]
    asked = {**arguments, "groupBy": ["userEmail"], "filters": filters}
    plain, _ = await specify(ask, few, asked)
    hidden, result = await specify(ask, few, asked, hide_emails=True, hide_emails_key=key)
    svg = vegalite_to_svg(hidden, allowed_base_urls=[])

    assert "ada@example.com" in json.dumps(plain)
    assert [block.type for block in result.content] == ["text", "image"]
    for text in (json.dumps(hidden), svg, result.model_dump_json()):
        assert "ada" not in text
        assert "example.com" not in text
    assert "user-" in svg


KEYS: Final = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=120))


@given(st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=20))
def test_names_fit_on_a_line_and_no_two_are_alike(groups: Sequence[tuple[Any, Any]]) -> None:
    names = name_groups(groups)

    assert len(set(names)) == len(groups)
    assert all(0 < len(name) <= LONGEST for name in names)
    hidden = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    assert not any(unicodedata.category(letter) in hidden for name in names for letter in name)


@given(st.lists(st.text("ab", min_size=30, max_size=60), min_size=1, max_size=30))
def test_names_that_look_alike_when_cut_are_numbered(names: Sequence[str]) -> None:
    assert len(set(shorten(names, 12))) == len(names)
