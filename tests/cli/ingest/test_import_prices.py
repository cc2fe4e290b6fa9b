"""Prices fill the cost that a row lacks, and no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]

PRICES = """
[[price]]
model = "gpt-4o-mini*"
input = 0.15
output = 0.6

[[price]]
model = "gpt-4o*"
input = 2.5
output = 10
"""
CALLS = (
    "CreatedAt,ModelName,InputTokens,OutputTokens,CostInUSD\n"
    "2026-07-10T00:00Z,gpt-4o-mini,1000000,500000,\n"
    "2026-07-10T00:01Z,gpt-4o-2024-08-06,1000,,\n"
    "2026-07-10T00:02Z,gpt-4o,1000,1000,0.5\n"
    "2026-07-10T00:03Z,gpt-4o,,,\n"
    "2026-07-10T00:04Z,GPT-4o,1000,1000,\n"
    "2026-07-10T00:05Z,,1000,1000,\n"
)


async def test_a_price_fills_the_cost_that_is_absent(data: Data, csv: Write, ask: Ask) -> None:
    done = data.bring(csv(CALLS), "--prices", csv(PRICES, "prices.toml"))

    assert "cost filled in from prices: 2 rows" in done.out
    assert "no price, so no cost: 3 rows (GPT-4o, gpt-4o, no model)" in done.out
    assert data.rows('"CostInUSD"') == [(0.45,), (0.0025,), (0.5,), (None,), (None,), (None,)]
    answer = await ask("modelName")
    assert answer["gpt-4o-mini",] == (1, 1_000_000, 500_000, 0.45)
    assert answer["GPT-4o",] == (1, 1000, 1000, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no price. Give tables [[price]]"),
        ("[[prices]]\n", "unknown key prices. Give tables [[price]]"),
        ("price = [1]\n", "price 1: must be a table"),
        ('[[price]]\nmodel = "x"\ninput = 1\n', "price 1: output must be USD per million"),
        ('[[price]]\nmodel = "x"\ninput = -1\noutput = 1\n', "price 1: input must be USD"),
        ('[[price]]\nmodel = "x"\ninput = true\noutput = 1\n', "price 1: input must be USD"),
        ('[[price]]\nmodel = "x"\ninput = nan\noutput = 1\n', "price 1: input must be USD"),
        ("[[price]]\ninput = 1\noutput = 1\n", "price 1: model must be a name or a pattern"),
        ('[[price]]\nmodel = "x"\nouput = 1\n', "unknown key ouput. Did you mean output or input?"),
        ("[[price", "cannot be read"),
    ],
)
def test_prices_that_are_none_are_refused(data: Data, csv: Write, text: str, message: str) -> None:
    done = data.bring(csv(CALLS), "--prices", csv(text, "prices.toml"))

    assert done.code == 1
    assert message in done.err
    assert data.files() == {}


def test_a_table_without_costs_takes_no_prices(data: Data, csv: Write) -> None:
    prices = csv(PRICES, "prices.toml")

    done = data.bring(csv(CALLS), "--prices", prices, "--table", "gateway_mcp_metrics")

    assert "--prices: the table gateway_mcp_metrics has no CostInUSD" in done.err
