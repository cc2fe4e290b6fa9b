"""The keys of the metadata: counted, in order, and of the caller's own rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.errors import BackendTimeoutError, TooManyRowsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.query.vocabulary import DatasourceName

Engine = Callable[..., DuckDBBackend]
Row = dict[str, Any]
Write = Callable[..., Path]

JULY: Final = (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC))
JUNE: Final = datetime(2026, 6, 30, 12, tzinfo=UTC)


async def list_keys(
    backend: DuckDBBackend,
    datasource: DatasourceName = "modelMetrics",
    caller: Caller = LOCAL,
) -> list[tuple[Any, Any]]:
    result = await backend.metadata_keys(datasource, *JULY, caller)
    assert result is not None
    assert (result.key_names, result.value_names) == (("metadata",), ("total",))
    return [(point.keys[0], point.values[0]) for point in result.points]


async def test_each_row_counts_once_for_each_key_it_has_a_value_of(
    write: Write, engine: Engine
) -> None:
    write(
        [
            {"Metadata": {"b": "1", "env": "prod", "a|b": "\u202e"}},
            {"Metadata": {"env": "", "none": None, "a": "1"}},
            {"Metadata": {"env": "dev"}},
            {"Metadata": {}},
            {"Metadata": None},
            {"Metadata": {"june": "1"}, "CreatedAt": JUNE},
            {"Metadata": {"august": "1"}, "CreatedAt": JULY[1]},
        ]
    )

    assert await list_keys(engine()) == [("env", 3), ("a", 1), ("a|b", 1), ("b", 1)]


async def test_rows_of_virtual_models_are_not_counted_with_their_calls(
    write: Write, engine: Engine
) -> None:
    write([{"Metadata": {"env": "x"}, "VirtualModelName": name} for name in ("fast", None)])

    assert await list_keys(engine()) == [("env", 1)]


async def test_the_cache_has_the_keys_of_looked_up_calls_alone(
    write: Write, engine: Engine
) -> None:
    write(
        [
            {"Metadata": {"env": "x"}, "CacheLookupStatus": "hit"},
            {"Metadata": {"other": "x"}, "CacheLookupStatus": None},
        ]
    )

    assert await list_keys(engine(), "cacheMetrics") == [("env", 1)]


@pytest.mark.parametrize("columns", [{}, {"ModelName": "gpt-4o"}])
async def test_no_table_or_no_metadata_is_no_key(
    write: Write, engine: Engine, columns: Row
) -> None:
    if columns:
        write([columns])

    assert await list_keys(engine()) == []


async def test_more_keys_than_the_cap_are_refused(write: Write, engine: Engine) -> None:
    write([{"Metadata": {f"key-{number}": "x" for number in range(5)}}])

    with pytest.raises(TooManyRowsError, match="5 rows, the limit is 4"):
        await engine(row_cap=4).metadata_keys("modelMetrics", *JULY, LOCAL)


async def test_the_time_limit_holds(write: Write, engine: Engine) -> None:
    write([{"Metadata": {"env": "x"}}])

    with pytest.raises(BackendTimeoutError):
        await engine(timeout_s=0).metadata_keys("modelMetrics", *JULY, LOCAL)


async def test_the_gateway_has_no_way_to_list_them(
    gateway: Callable[..., GatewayBackend],
) -> None:
    sent: list[object] = []
    backend = gateway(sent=sent)

    assert await backend.metadata_keys("modelMetrics", *JULY, LOCAL) is None  # type: ignore[func-returns-value]  # that is what is tested
    assert sent == []


# --- whose keys ---

ROWS: Final = st.lists(
    st.fixed_dictionaries(
        {
            "CreatedBySubjectSlug": st.sampled_from(("ada", "Ada", "bob", None)),
            "CreatedBySubjectType": st.sampled_from(("user", "virtualaccount", None)),
            "Teams": st.none() | st.lists(st.sampled_from(("search", "Search", "ads")), max_size=3),
            "Metadata": st.none()
            | st.dictionaries(st.sampled_from(("env", "Env", "a b", "😀")), st.just("x")),
        }
    ),
    min_size=1,
    max_size=12,
)
CALLERS: Final = st.builds(
    Caller,
    subject=st.sampled_from(("ada", "bob", "nobody")),
    subject_type=st.sampled_from(("user", "virtualaccount")),
    teams=st.frozensets(st.sampled_from(("search", "ads"))),
    is_tenant_admin=st.booleans(),
)


def may_see(caller: Caller, row: Mapping[str, Any]) -> bool:
    """R23, in plain Python."""
    subject = (row["CreatedBySubjectSlug"], row["CreatedBySubjectType"])
    is_own = subject == (caller.subject, caller.subject_type)
    return caller.is_tenant_admin or is_own or bool(caller.teams & {*(row["Teams"] or ())})


@given(rows=ROWS, caller=CALLERS)
def test_a_caller_sees_the_keys_of_rows_they_may_see(
    write_rows: Callable[..., Path], rows: Sequence[Row], caller: Caller
) -> None:
    seen = Counter(key for row in rows if may_see(caller, row) for key in row["Metadata"] or ())

    async def list_them(directory: Path) -> list[tuple[Any, Any]]:
        backend = DuckDBBackend(directory, load_catalog())
        try:
            return await list_keys(backend, caller=caller)
        finally:
            await backend.aclose()

    with TemporaryDirectory() as directory:
        write_rows(Path(directory), rows)
        listed = anyio.run(list_them, Path(directory))

    assert listed == sorted(seen.items(), key=lambda item: (-item[1], item[0]))
