"""No address of a resource, whatever stands in it, is a fault of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st
from mcp import MCPError
from mcp.client import Client

from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
ROWS: Final = "gateway-metrics://rows/"
ALL_MODELS: Final = ROWS + "('groupBy':!'modelName';,'startTs':'2025-03-01','endTs':'2025-03-08')"
INVALID: Final = -32602


@pytest.fixture(scope="module")
def portal() -> Any:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def reader(directory: Path, portal: BlockingPortal) -> Any:
    """Read a URI at one server, again and again: the code of what is wrong, or None."""
    server = build_server(Settings(backend=str(directory)))
    with portal.wrap_async_context_manager(Client(server, cache=None)) as client:

        async def code_of(uri: str) -> int | None:
            try:
                await client.read_resource(uri)
            except MCPError as error:
                return error.error.code
            return None

        yield lambda uri: portal.call(code_of, uri)


COMPARED: Final = (
    "gateway-metrics://rows?aggregations=sum+costInUSD,share&groupBy=modelName,metadata.a"
    "&filters=modelName,IN,gpt-4o,%22a,b%22&startTs=2025-03-01&endTs=2025-03-08T09:30Z"
    "&timezone=Europe/Berlin&compareTo=2025-02-01..2025-02-08"
)
VALID: Final = (
    COMPARED,
    "gateway-metrics://rows?startTs=2025-03-01&endTs=2025-03-08&interval=1+day",
    ALL_MODELS,
    ROWS
    + "('aggregations':!'sum+costInUSD','share';,'groupBy':!'modelName','metadata.a';,'filters'"
    ":!('fieldName':'modelName','operator':'IN','value':!'gpt-4o';);,'startTs':'2025-03-01','endTs'"
    ":'2025-03-08T09:30Z','timezone':'Europe%2FBerlin','compareTo':'2025-02-01..2025-02-08')",
    ROWS + "('startTs':'2025-03-01','endTs':'2025-03-08','interval':'1+day')",
    "gateway-metrics://catalog/modelMetrics",
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A URI of ours with a few pieces taken out, put in or repeated."""
    uri = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(uri)))
        until = draw(st.integers(at, min(at + 12, len(uri))))
        piece = draw(
            st.sampled_from(
                ["", "'", "(", ")", "!", ";", ",", ":", "%00", "%", "%22", "&", "=", "null", "-1"]
            )
            | st.just(uri[at:until] * 2)
            | st.text(max_size=4)
        )
        uri = uri[:at] + piece + uri[until:]
    return uri


@given(
    uri=mutated()
    | st.text().map(ROWS.__add__)
    | st.text().map("gateway-metrics://rows?".__add__)
    | st.text()
)
def test_no_uri_is_a_fault_of_the_server(reader: Callable[[str], int | None], uri: str) -> None:
    assert reader(uri) in (None, INVALID)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    wrong=st.dictionaries(
        st.sampled_from(
            (
                *("datasource", "aggregations", "groupBy", "filters", "startTs", "endTs"),
                *("timezone", "compareTo", "orderBy", "interval", "limit", "offset", "format"),
            )
        ),
        JSON,
        min_size=1,
        max_size=3,
    )
)
def test_no_argument_in_a_uri_is_a_fault_of_the_server(
    reader: Callable[[str], int | None], wrong: dict[str, Any]
) -> None:
    swapped = json.dumps({**MARCH, **wrong}).translate(
        str.maketrans("{}[]\" '()!;+", "()!;'+\"{}[] ")
    )
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in wrong.items()
    }

    assert reader(ROWS + swapped) in (None, INVALID)
    assert reader(f"gateway-metrics://rows?{urlencode({**MARCH, **texts})}") in (None, INVALID)
