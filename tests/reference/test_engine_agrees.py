"""The embedded engine and the reference evaluator give one answer to any question to any rows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import duckdb
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Number, Result
from gateway_metrics_mcp.query.vocabulary import OPERATORS, Operator

Evaluate = Callable[..., Result]
Make = Callable[[bytes], Any]
Ask = Callable[[Query, Caller], Result]

TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
}
MAPS: Final = (
    "unnest(list_transform(list_zip($k{index}::VARCHAR[][], $v{index}::VARCHAR[][]),"
    " lambda m: CASE WHEN m[1] IS NOT NULL THEN map(m[1], m[2]) END))"
)
EXAMPLES: Final = 5000 if settings().max_examples >= 500 else settings().max_examples


class Store:
    """A data directory that holds one file at a time, and one connection that writes it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count()
        self._written: Path | None = None
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")

    def write(self, table: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
        """Replace the file; its name is new each time, so that nothing cached can answer."""
        if self._written is not None:
            self._written.unlink()
        self._written = self.directory / table / f"{next(self._numbers)}.parquet"
        self._written.parent.mkdir(exist_ok=True)
        selected, parameters = [], {}
        for index, column in enumerate(columns):
            kind = published_tables()[table].get(column, "TEXT")
            type_ = TYPES.get(kind, kind)
            cells = [row[column] for row in rows]
            expression = f"unnest($v{index}::{type_}[])"
            if type_.startswith("MAP"):
                # Bound as its keys and its values: a dict would become a struct.
                parameters[f"k{index}"] = [None if c is None else list(c) for c in cells]
                cells = [None if c is None else list(c.values()) for c in cells]
                expression = MAPS.format(index=index)
            parameters[f"v{index}"] = cells
            selected.append(f'{expression} AS "{column}"')
        select = f"SELECT {', '.join(selected)}"
        self._connection.execute(f"COPY ({select}) TO '{self._written}'", parameters)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("tables"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def ask_engine(store: Store, catalog: Catalog) -> Iterator[Ask]:
    """The backend's own `query`, in one event loop: examples are drawn outside of it."""
    with asyncio.Runner() as runner:
        backend = DuckDBBackend(store.directory, catalog, threads=1)
        yield lambda query, caller: runner.run(backend.query(query, caller))
        runner.run(backend.aclose())


def assert_same(got: Result, expected: Result, tolerance: float) -> None:
    """Names, order, keys, integers and sums to the last digit; means and rates, which divide them,
    within two roundings, other floats within a billionth."""
    assert (got.key_names, got.value_names) == (expected.key_names, expected.value_names)
    assert [p.start for p in got.points] == [p.start for p in expected.points]
    assert [_typed(p.keys) for p in got.points] == [_typed(p.keys) for p in expected.points]
    for ours, theirs in zip(got.points, expected.points, strict=True):
        named = zip(got.value_names, ours.values, theirs.values, strict=True)
        wrong = [cell for cell in named if not _is_same(*cell, tolerance)]
        assert not wrong, f"at {ours.start}, {ours.keys}: name, engine, evaluator"


def _typed(keys: Sequence[object]) -> list[tuple[type, object]]:
    """True is not 1."""
    return [(type(key), key) for key in keys]


def _is_same(name: str, got: Number | None, expected: Number | None, tolerance: float) -> bool:
    if isinstance(got, float) and isinstance(expected, float):
        if name.startswith("sum"):
            return got == expected
        if name.startswith(("avg", "rateSum", "rateAvg", "ratePerMinute")):
            return math.isclose(got, expected, rel_tol=2**-51, abs_tol=5e-324)
        return math.isclose(got, expected, rel_tol=1e-9, abs_tol=tolerance)
    return type(got) is type(expected) and got == expected


@settings(max_examples=EXAMPLES)
@given(choices=st.binary(min_size=24, max_size=24))
def test_the_engine_answers_as_the_rulings_say(
    ask_engine: Ask,
    store: Store,
    evaluate: Evaluate,
    make_example: Make,
    choices: bytes,
) -> None:
    example = make_example(choices)
    note(repr(example))
    store.write(example.table, example.columns, example.rows)
    # An admin's filters and those of a caller with rights to some rows are different SQL.
    for caller in {example.caller, replace(example.caller, is_tenant_admin=False)}:
        expected = evaluate(example.query, caller, example.rows, load_catalog())
        assert_same(ask_engine(example.query, caller), expected, example.tolerance)


def test_the_questions_are_valid_and_many_of_them_select_rows(
    evaluate: Evaluate, make_example: Make, catalog: Catalog
) -> None:
    chance = Random(1)  # noqa: S311 - no secret
    answered = narrowed = 0
    operators: set[Operator] = set()
    for _ in range(2000):
        example = make_example(chance.randbytes(24))
        query, caller, rows = example.query, example.caller, example.rows
        assert read_query(query.to_body(), catalog) == query
        totals = evaluate(query, caller, rows, catalog).column("total")
        if not any(totals):
            continue
        answered += 1
        unfiltered = query.model_copy(update={"filters": ()})
        if evaluate(unfiltered, caller, rows, catalog).column("total") != totals:
            narrowed += 1
            operators.update(asked.operator for asked in query.filters)
    assert answered >= 800
    assert narrowed >= 200
    assert operators == set(OPERATORS)
