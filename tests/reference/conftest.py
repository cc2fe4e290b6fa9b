"""The reference evaluator as a fixture, and questions to it as the API's bodies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.query.result import Result

Evaluate = Callable[..., Result]
Ask = Callable[..., list[dict[str, Any]]]

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
"""When a row was made that does not say."""


def _load(name: str) -> ModuleType:
    """A module beside this one: the tests are no package."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"tests_reference_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """`evaluate(query, caller, rows, catalog)`."""
    function: Evaluate = _load("evaluator").evaluate
    return function


@pytest.fixture(scope="session")
def make_example(catalog: Catalog) -> Callable[[bytes], Any]:
    """A question, its caller and the rows of its table, out of 24 bytes of chance."""
    generation = _load("generation")
    return lambda choices: generation.make_example(choices, catalog)


@pytest.fixture(scope="session")
def ask(evaluate: Evaluate, catalog: Catalog) -> Ask:
    """Ask of rows: the data points as the API would give them.

    The window is July 2026 and the datasource modelMetrics unless said otherwise; aggregations
    are text such as "sum inputTokens", filters triples.
    """

    def ask_rows(
        rows: Sequence[Mapping[str, Any]], *, caller: Caller = LOCAL, **changes: Any
    ) -> list[dict[str, Any]]:
        pairs = [text.split() for text in changes.pop("aggregations", [])]
        triples = changes.pop("filters", [])
        body = {
            "startTs": "2026-07-01T00:00:00Z",
            "endTs": "2026-08-01T00:00:00Z",
            "datasource": "modelMetrics",
            "type": "timeseries" if "interval" in changes else "distribution",
            "aggregations": [{"type": type_, "column": column} for type_, column in pairs],
            "filters": [{"fieldName": f, "operator": o, "value": v} for f, o, v in triples],
            **changes,
        }
        query = read_query(body, catalog)
        made = [{"CreatedAt": NOON, **row} for row in rows]
        result = evaluate(query, caller, made, catalog)
        points: list[dict[str, Any]] = result.rows(query)
        return points

    return ask_rows
