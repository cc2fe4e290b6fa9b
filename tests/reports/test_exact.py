"""With format exact the rows read back are those the engine gave: every name, every digit."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from hypothesis import given, note
from hypothesis import strategies as st

World = Any

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
BORDER: Final = re.compile(r"(?<!\\)\|")
NASTY: Final = (
    "|\\\"'`#- \n\r\t\x1b\x7f\x85\u00a0\u00ad\u061c\u115f\u200b\u200d\u200e\u2028\u202e\u2066"
    "\u2800\u3000\u3164\ufe0f\ufeff\ufff9\ue000\U000e0041\U000e0100\U0001f642eé中a1"
)
WORDS: Final = ("null", "true", "ALL", "other", "n/a", "nan", "7", "1e5", "---", "time", "", "@")
NAME: Final = st.sampled_from(WORDS) | st.text(
    st.sampled_from(NASTY) | st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=60,
)
ROW: Final = st.tuples(
    NAME | st.none(),
    NAME | st.none(),
    st.none() | st.floats(0, 1e12, allow_subnormal=False),
    st.none() | st.integers(0, 2**53),
)


def unquote(cell: str) -> str | None:
    r"""The text of a cell: JSON where it is quoted, with `|` as `\|`."""
    if cell == "null":
        return None
    if not cell.startswith('"'):
        return cell
    plain = re.sub(r"\\(.)", lambda match: "|" if match[1] == "|" else match[0], cell)
    text: str = json.loads(plain)
    return text


def number(cell: str) -> float | None:
    return None if cell == "null" else json.loads(cell)


def read_table(text: str) -> tuple[list[str], list[list[str]], list[str]]:
    """The columns, the rows, and the row of ALL; what all rows share is put back."""
    lines = text.split("\n")
    notes = [line for line in lines if line.startswith("# ")]
    columns, rule, *rows = [line for line in lines if not line.startswith("# ")]
    assert set(rule) <= {"-", "|"}
    shared = [line.removeprefix("# all rows: ") for line in notes if "# all rows: " in line]
    equal = [line for line in notes if line.endswith(" equals total in every row")]
    assert equal == []
    whole = BORDER.split(rows.pop())
    assert whole[0] == "ALL"
    names = BORDER.split(columns)
    cells = [BORDER.split(row) for row in rows]
    assert {len(row) for row in cells} == {len(names)}
    if shared:
        name, _, value = shared[0].partition("=")
        names, cells = [name, *names], [[value, *row] for row in cells]
    return names, cells, whole


@given(made=st.lists(ROW, min_size=2, max_size=8, unique_by=lambda row: repr(row[:2])))
def test_the_rows_read_back_are_those_of_the_engine(
    world: World, made: list[tuple[str | None, str | None, float | None, int | None]]
) -> None:
    world.fill(
        [
            {
                "CreatedAt": NOON,
                "ModelName": model,
                "Metadata": None if env is None else {"env": env},
                "CostInUSD": cost,
                "InputTokens": tokens,
            }
            for model, env, cost, tokens in made
        ]
    )
    asked = ["sum costInUSD", "sum inputTokens"]
    question = {**WEEK, "groupBy": ["modelName", "metadata.env"], "aggregations": asked}

    text = world.ask({**question, "format": "exact"})
    note(text)

    names, cells, _ = read_table(text)
    read = set()
    for row in cells:
        found = dict(zip(names, row, strict=True))
        keys = unquote(found["modelName"]), unquote(found["metadata.env"])
        read.add((*keys, number(found["sumCostInUSD"]), number(found["sumInputTokens"])))
    assert read == set(made)
    assert len(cells) == len(made)


@given(
    made=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1e9, allow_subnormal=False)),
        min_size=1,
        max_size=12,
    )
)
def test_every_digit_of_the_engine_is_there(world: World, made: list[tuple[str, float]]) -> None:
    world.fill([{"CreatedAt": NOON, "ModelName": m, "CostInUSD": c} for m, c in made])
    asked = ["sum costInUSD", "avg costInUSD", "costPerRequest"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": asked}

    body = world.read(question)
    text = world.ask({**question, "format": "exact"})

    if len(body["rows"]) == 1:
        shown = dict(line.split(": ") for line in text.split("\n") if not line.startswith("#"))
        wanted = [str(v) for v in body["rows"][0]]
        assert [json.dumps(v) if i else v for i, v in enumerate(body["rows"][0])] == [
            *shown.values()
        ], wanted
        return
    _, cells, whole = read_table(text)
    assert [[row[0], *map(json.loads, row[1:])] for row in cells] == body["rows"]
    assert [*map(json.loads, whole[1:])] == body["all"]


def test_all_has_the_digits_that_the_engine_gives_without_groups(world: World) -> None:
    chance = Random(7)  # noqa: S311 - test data
    for _ in range(8):
        costs = [(chance.choice("abcdef"), chance.lognormvariate(-7, 2)) for _ in range(400)]
        world.fill([{"CreatedAt": NOON, "ModelName": m, "CostInUSD": c} for m, c in costs])
        asked = {**WEEK, "aggregations": ["sum costInUSD"]}

        added = world.read({**asked, "groupBy": ["modelName"]}, is_by_rulings=True)
        (whole,) = world.read(asked)["rows"]

        assert added["all"] == whole
        assert whole[-1] == math.fsum(cost for _, cost in costs)
