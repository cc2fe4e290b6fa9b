"""ClickHouse gives the answers of the reference evaluator and of the embedded engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from hypothesis import given, note, settings
from hypothesis import strategies as st

from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.result import Result

Evaluate = Callable[..., Result]
Make = Callable[[bytes], Any]
Ask = Callable[..., Result]
Fill = Callable[..., None]
Same = Callable[[Result, Result, float], None]

EXAMPLES: Final = 2000 if settings().max_examples >= 500 else settings().max_examples


@settings(max_examples=EXAMPLES)
@given(choices=st.binary(min_size=24, max_size=24))
def test_it_answers_as_the_rulings_say(
    ask: Ask,
    fill: Fill,
    evaluate: Evaluate,
    make_example: Make,
    assert_same: Same,
    catalog: Catalog,
    choices: bytes,
) -> None:
    example = make_example(choices)
    note(repr(example))
    fill(example.table, example.columns, example.rows)
    # An admin's filters and those of a caller with rights to some rows are different SQL.
    for caller in {example.caller, replace(example.caller, is_tenant_admin=False)}:
        expected = evaluate(example.query, caller, example.rows, catalog)
        assert_same(ask(example.query, caller), expected, example.tolerance)
