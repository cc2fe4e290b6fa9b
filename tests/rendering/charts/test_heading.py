"""What stands above a picture: which groups it draws, and what makes two windows unlike."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from mcp_types import CallToolResult, TextContent

Ask = Callable[..., Awaitable[CallToolResult]]
Specify = Callable[..., Awaitable[dict[str, Any]]]

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ({"orderBy": "-sumCostInUSD"}, "sorted by sumCostInUSD asc"),
        ({"orderBy": "modelName"}, "sorted by modelName desc"),
        ({"compareTo": "previous"}, "sorted by size of sumCostInUSD_change desc"),
        ({"compareTo": "previous", "orderBy": "sumCostInUSD"}, "sorted by sumCostInUSD desc"),
    ],
)
async def test_what_chose_the_groups_is_said_as_in_the_text(
    ask: Ask, many: Path, asked: dict[str, str], order: str
) -> None:
    week = {**COST, "startTs": "2026-07-12", "endTs": "2026-07-15", "limit": 5}
    result = await ask(many, {**week, **asked}, ui=True)
    text = result.content[0]

    assert isinstance(text, TextContent)
    assert result.meta is not None
    subtitle = result.meta["gateway-metrics/view"]["title"]["subtitle"]
    assert f" | {order} | rows 1-5 of 14" in text.text.splitlines()[0]
    assert subtitle[-1] == f"5 of 14 groups, {order}, the rest in other"


async def test_where_all_groups_are_drawn_nothing_is_said_of_their_order(
    specify: Specify, few: Path
) -> None:
    specification = await specify(few, {**COST, "startTs": "2026-07-13.."})

    assert "sorted" not in json.dumps(specification["title"])


async def test_the_order_of_a_comparison_is_said_also_where_all_groups_are_drawn(
    specify: Specify, few: Path
) -> None:
    asked = {**COST, "startTs": "2026-07-13..", "compareTo": "previous"}
    one = {**asked, "groupBy": []}

    title = (await specify(few, asked))["title"]
    assert title["subtitle"][-1] == "sorted by size of sumCostInUSD_change desc"
    assert "sorted" not in json.dumps((await specify(few, one))["title"])


@pytest.mark.parametrize(
    ("earlier", "note"),
    [
        ("2026-07-08..2026-07-09", "the windows differ in length: 3 days against 2 days"),
        ("1 day", "the windows overlap by 2 days: shared rows hide change"),
    ],
)
async def test_windows_that_are_unlike_are_named_above_the_picture(
    ask: Ask, many: Path, earlier: str, note: str
) -> None:
    asked = {**COST, "startTs": "2026-07-12", "endTs": "2026-07-15", "compareTo": earlier}
    result = await ask(many, asked, ui=True)
    text = result.content[0]

    assert isinstance(text, TextContent)
    assert result.meta is not None
    subtitle = result.meta["gateway-metrics/view"]["title"]["subtitle"]
    assert f"# {note}" in text.text.splitlines()
    assert subtitle[1].startswith("compared with ")
    assert subtitle[2] == note
