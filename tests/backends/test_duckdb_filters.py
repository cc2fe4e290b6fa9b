"""What filters of the embedded engine let through (R9 to R11)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.vocabulary import DatasourceName

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Make = Callable[..., Query]


def names(rows: Iterable[Row], key: str = "modelName") -> set[str]:
    return {row[key] for row in rows}


# --- R9: null ---


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NOT_EQUAL", "x"),
        ("NOT_IN", ["x", "y"]),
        ("STRING_NOT_CONTAINS", "x"),
        ("STRING_NOT_STARTS_WITH", "x"),
        ("STRING_NOT_ENDS_WITH", "x"),
    ],
)
@pytest.mark.parametrize("field", ["virtualModelName", "metadata.k"])
async def test_r9_null_never_matches_a_negative_operator(
    ask: Ask, write: Write, field: str, operator: str, value: object
) -> None:
    write(
        [
            {"ModelName": "null", "VirtualModelName": None, "Metadata": None},
            {"ModelName": "x", "VirtualModelName": "x", "Metadata": {"k": "x"}},
            {"ModelName": "z", "VirtualModelName": "z", "Metadata": {"k": "z"}},
        ]
    )

    rows = await ask(groupBy=["modelName"], filters=[(field, operator, value)])

    assert names(rows) == {"z"}


@pytest.mark.parametrize(
    ("datasource", "field", "column", "value"),
    [
        ("modelMetrics", "virtualModelName", "VirtualModelName", "v"),
        ("cacheMetrics", "isFailure", "IsFailure", False),
        ("agentMetrics", "httpStatusCode", "HttpStatusCode", 200),
    ],
)
async def test_r9_is_null_alone_reaches_null(
    ask: Ask, write: Write, datasource: DatasourceName, field: str, column: str, value: object
) -> None:
    table = load_catalog().datasources[datasource].table
    cached = {"CacheLookupStatus": "hit"} if datasource == "cacheMetrics" else {}
    write(
        [{column: None, **cached}, {column: value, **cached}, {column: value, **cached}],
        table=table,
    )

    null = await ask(datasource=datasource, filters=[(field, "IS_NULL", True)])
    known = await ask(datasource=datasource, filters=[(field, "IS_NULL", False)])

    assert (null, known) == ([{"total": 1}], [{"total": 2}])


async def test_r9_has_none_takes_a_null_array_as_empty(ask: Ask, write: Write) -> None:
    write(
        [
            {"ModelName": "null", "Teams": None},
            {"ModelName": "empty", "Teams": []},
            {"ModelName": "null inside", "Teams": [None]},
            {"ModelName": "search", "Teams": ["search", None]},
            {"ModelName": "both", "Teams": ["support", "search"]},
            {"ModelName": "other", "Teams": ["platform"]},
        ]
    )

    none = await ask(
        groupBy=["modelName"], filters=[("team", "ARRAY_HAS_NONE", ["search", "support"])]
    )
    some = await ask(
        groupBy=["modelName"], filters=[("team", "ARRAY_HAS_ANY", ["support", "platform"])]
    )

    assert names(none) == {"null", "empty", "null inside", "other"}
    assert names(some) == {"both", "other"}


# --- R10 and R11: comparisons ---


TEXTS: Final = (
    "",
    "a",
    "A",
    "ab",
    "a%b",
    "a_b",
    "axb",
    "%",
    "_",
    "100%",
    "it's",
    'say "hi"',
    "back\\slash",
    "\\%",
    "[a-z]",
    "a*",
    "$p0",
    "{p0:String}",
    "' OR 1=1 --",
    "\\N",
    "NULL",
    "tab\tnew\nline",
    " padded ",
    "é",
    "e\u0301",
    "ß",
    "SS",
    "ﬀ",
    "שלום",
    "مرحبا",
    "\u202eabc",
    "😀",
    "👩\u200d💻",
    "\uffff",
    "\U00010000",
    "zz",
)
_CHARACTERS: Final = st.characters(codec="utf-8", exclude_characters="\0")
_VALUES: Final = st.one_of(
    st.sampled_from(TEXTS),
    st.text(_CHARACTERS, max_size=4),
    st.text(st.sampled_from("aAb%_\\'\"é😀"), max_size=3),
    st.builds(
        lambda text, i, j: text[i:j], st.sampled_from(TEXTS), st.integers(0, 5), st.integers(1, 9)
    ),
)
_IN_PYTHON: Final[dict[str, Callable[[str, str], bool]]] = {
    "EQUAL": lambda text, value: text == value,
    "NOT_EQUAL": lambda text, value: text != value,
    "STRING_CONTAINS": lambda text, value: value in text,
    "STRING_NOT_CONTAINS": lambda text, value: value not in text,
    "STRING_STARTS_WITH": lambda text, value: text.startswith(value),
    "STRING_NOT_STARTS_WITH": lambda text, value: not text.startswith(value),
    "STRING_ENDS_WITH": lambda text, value: text.endswith(value),
    "STRING_NOT_ENDS_WITH": lambda text, value: not text.endswith(value),
    "GREATER_THAN": lambda text, value: text > value,
    "LESS_THAN": lambda text, value: text < value,
    "GREATER_THAN_EQUAL": lambda text, value: text >= value,
    "LESS_THAN_EQUAL": lambda text, value: text <= value,
}


@pytest.fixture(scope="module")
async def texts(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("texts")
    rows = [{"ModelName": text, "Metadata": {"k": text}} for text in TEXTS]
    write_rows(directory, [*rows, {"ModelName": None, "Metadata": None}])
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


async def _matching(
    backend: DuckDBBackend, make: Make, field: str, operator: str, value: object
) -> set[str]:
    query = make(groupBy=["modelName"], filters=[(field, operator, value)])
    result = await backend.query(query, LOCAL)
    return {str(point.keys[0]) for point in result.points}


@given(operator=st.sampled_from(sorted(_IN_PYTHON)), value=_VALUES)
@example(operator="GREATER_THAN", value="\uffff")
@example(operator="STRING_CONTAINS", value="%")
@example(operator="STRING_STARTS_WITH", value="a_")
@example(operator="STRING_ENDS_WITH", value="\\")
@example(operator="EQUAL", value="A")
async def test_r10_text_compares_as_python_compares_it(
    texts: DuckDBBackend, make_query: Make, operator: str, value: str
) -> None:
    holds = _IN_PYTHON[operator]

    found = await _matching(texts, make_query, "modelName", operator, value)

    assert found == {text for text in TEXTS if holds(text, value)}


@given(
    operator=st.sampled_from([name for name in sorted(_IN_PYTHON) if "THAN" not in name]),
    value=_VALUES,
)
async def test_r10_metadata_compares_likewise(
    texts: DuckDBBackend, make_query: Make, operator: str, value: str
) -> None:
    holds = _IN_PYTHON[operator]

    found = await _matching(texts, make_query, "metadata.k", operator, value)

    assert found == {text for text in TEXTS if holds(text, value)}


@given(values=st.lists(_VALUES, min_size=1, max_size=5))
async def test_r10_a_list_holds_its_literal_members(
    texts: DuckDBBackend, make_query: Make, values: list[str]
) -> None:
    inside = await _matching(texts, make_query, "modelName", "IN", values)
    outside = await _matching(texts, make_query, "modelName", "NOT_IN", values)

    assert inside == set(TEXTS) & set(values)
    assert outside == set(TEXTS) - set(values)


@given(bounds=st.tuples(_VALUES, _VALUES).map(sorted))
async def test_r11_between_texts_holds_both_ends(
    texts: DuckDBBackend, make_query: Make, bounds: list[str]
) -> None:
    low, high = bounds

    found = await _matching(texts, make_query, "modelName", "BETWEEN", bounds)

    assert found == {text for text in TEXTS if low <= text <= high}


NUMBERS: Final = (-1.5, 0.0, 0.1, 1.0, 2.0, 2.5, 1e3, 123456789.125, 2.0**53, 1e300)
_NUMBER_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "GREATER_THAN": lambda number, value: number > value,
    "LESS_THAN": lambda number, value: number < value,
    "GREATER_THAN_EQUAL": lambda number, value: number >= value,
    "LESS_THAN_EQUAL": lambda number, value: number <= value,
    "EQUAL": lambda number, value: number == value,
}


@pytest.fixture(scope="module")
async def numbers(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("numbers")
    odd = (math.nan, math.inf, -math.inf, None)
    write_rows(
        directory, [{"ModelName": repr(number), "LatencyMs": number} for number in (*NUMBERS, *odd)]
    )
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


@given(
    operator=st.sampled_from(sorted(_NUMBER_OPERATORS)),
    value=st.sampled_from(NUMBERS)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False),
)
async def test_r11_numbers_compare_as_python_compares_them_and_nan_never_matches(
    numbers: DuckDBBackend, make_query: Make, operator: str, value: float
) -> None:
    holds = _NUMBER_OPERATORS[operator]

    found = await _matching(numbers, make_query, "latencyMs", operator, value)

    assert found == {repr(number) for number in NUMBERS if holds(number, value)}


async def test_r11_between_numbers_holds_both_ends(
    numbers: DuckDBBackend, make_query: Make
) -> None:
    found = await _matching(numbers, make_query, "latencyMs", "BETWEEN", [0, 2.0])

    assert found == {"0.0", "0.1", "1.0", "2.0"}


def test_r11_low_above_high_is_refused(make_query: Make) -> None:
    with pytest.raises(InvalidQueryError, match=r"filters\[0\]"):
        make_query(filters=[("latencyMs", "BETWEEN", [2, 1])])


async def test_filters_hold_all_together(ask: Ask, write: Write) -> None:
    write([{"ModelName": name, "LatencyMs": ms} for name in "ab" for ms in (1.0, 2.0)])

    rows = await ask(
        filters=[("modelName", "EQUAL", "a"), ("latencyMs", "GREATER_THAN", 1)],
    )

    assert rows == [{"total": 1}]
