"""Sums of doubles are exact and rounded once: the same digits in any order of rows (R22)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.model import LOCAL
from gateway_metrics_mcp.query.result import RoundedSum, add_up

Ask = Callable[..., Awaitable[list[dict[str, Any]]]]
Engine = Callable[..., DuckDBBackend]
Write = Callable[..., Path]

CHANCE: Final = Random(10)  # noqa: S311 - test data
ANY: Final = [
    math.ldexp(CHANCE.uniform(-1, 1), CHANCE.choice([-1073, -700, -90, -20, 0, 30, 60, 700, 1023]))
    for _ in range(60)
]
VALUES: Final = {
    "costs": [round(CHANCE.lognormvariate(-7, 2), 8) for _ in range(3000)],
    "free": [0.0, -0.0] * 20,
    "both signs": [CHANCE.uniform(-5000, 5000) for _ in range(500)],
    "cancelling": [1e6 / 3, 1e-9, -1e6 / 3] * 10,
    "tiny alone": [5e-324, 1e-300, 1e-30, -1e-31],
    "tiny rests of cancelled costs": [0.1 + 0.2, -0.3, 1e-18, -5.551115123125783e-17],
    "beyond 2^43": [CHANCE.uniform(1e12, 1e15) for _ in range(90)],
    "sums beyond 2^43": [4e12, 0.1, 4e12, 0.7],
    "huge": [1e300, 0.1, -1e300, 1.7e308, -1.7e308],
    "of any size": ANY,
    "NaN and infinity": [math.nan, 0.1, math.inf, 0.2, -math.inf, 0.3],
    "beyond all doubles": [1.7e308, 1.7e308],
    "beyond them on the way": [1.7e308, 1.7e308, -1.7e308],
}


def exact(values: list[float]) -> float | None:
    """The sum of the finite values in rational numbers, rounded once."""
    try:
        return float(sum(Fraction(value) for value in values if math.isfinite(value)))
    except OverflowError:
        return None


@pytest.mark.parametrize("name", VALUES)
async def test_a_sum_is_exact_whatever_the_order_of_rows_files_and_threads(
    ask: Ask, engine: Engine, write_rows: Write, tmp_path: Path, name: str
) -> None:
    values, chance = [*VALUES[name]], Random(1)  # noqa: S311 - test data
    count = sum(map(math.isfinite, values))
    answers = []
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        chance.shuffle(values)
        files = number + 1
        for part in range(files):
            rows = [{"CostInUSD": value} for value in values[part::files]]
            write_rows(directory, rows, name=f"{part}.parquet")
        asked = ["sum costInUSD", "avg costInUSD", "rateSum costInUSD"]
        backend = engine(directory, threads=files)
        answers += await ask(backend, aggregations=asked, interval="1 year")

    total = exact(values)
    wanted = [total, None, None] if total is None else [total, total / count, total / 31_536_000]
    for answer in answers:
        assert [answer[f"{type_}CostInUSD"] for type_ in ("sum", "avg", "rateSum")] == wanted


async def test_groups_add_up_to_the_digits_of_the_whole(
    engine: Engine, make_query: Callable[..., Any], write: Write
) -> None:
    chance = Random(3)  # noqa: S311 - test data
    rows = [
        {"ModelName": f"m{chance.randrange(9)}", "CostInUSD": chance.lognormvariate(-7, 2)}
        for _ in range(4000)
    ]
    write(rows)
    backend = engine()
    models: list[Any] = [f"m{n}" for n in range(9)]
    for _ in range(20):
        some = chance.sample(models, 6)
        asked: dict[str, Any] = {
            "aggregations": ["sum costInUSD"],
            "filters": [("modelName", "IN", some)],
        }
        whole = await backend.query(make_query(**asked), LOCAL)
        groups = await backend.query(make_query(**asked, groupBy=["modelName"]), LOCAL)
        assert add_up(groups.column("sumCostInUSD")) == whole.column("sumCostInUSD")[0]


def test_a_sum_keeps_what_rounding_took_away() -> None:
    whole = add_up([1e16, 1.0])
    assert isinstance(whole, RoundedSum)
    assert (whole, whole.rest) == (1e16, 1.0)
    assert add_up([whole, 1.0]) == 1e16 + 2


async def test_values_too_fine_are_found_in_files_that_come_later(ask: Ask, write: Write) -> None:
    asked: dict[str, Any] = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
    write([{"ModelName": "free", "CostInUSD": 0.0}] * 3)
    assert [row["sumCostInUSD"] for row in await ask(**asked)] == [0.0]

    write([{"ModelName": "tiny", "CostInUSD": 1e-300}], name="b.parquet")
    filters = [("modelName", "EQUAL", "free")]
    assert [row["sumCostInUSD"] for row in await ask(**asked, filters=filters)] == [0.0]
    assert [row["sumCostInUSD"] for row in await ask(**asked)] == [0.0, 1e-300]
