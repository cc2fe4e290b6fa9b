"""The keys of the metadata are the same from ClickHouse and from the embedded engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, DatasourceName

START: Final = datetime(2026, 7, 1, tzinfo=UTC)
END: Final = START + timedelta(days=7)
KEYS: Final = ("env", "Env", "a b", "it's", 'a"b', "%\\😀", "a|b", "")
ADA: Final = Caller("ada", teams=frozenset({"search", "it's"}))


def make_rows(chance: Random) -> list[dict[str, Any]]:
    """Some of any subject, some with each key, some just outside of the window."""
    return [
        {
            "CreatedAt": START + timedelta(hours=chance.randrange(-12, 180)),
            "CreatedBySubjectSlug": chance.choice(["ada", "bob", None]),
            "CreatedBySubjectType": chance.choice(["user", "virtualaccount"]),
            "Teams": chance.sample(["search", "ads", "it's"], chance.randrange(3)),
            "VirtualModelName": chance.choice([None, "fast"]),
            "CacheLookupStatus": chance.choice([None, "hit"]),
            "Metadata": {key: "x" for key in KEYS if chance.random() < 0.3},
        }
        for _ in range(200)
    ]


@pytest.fixture(scope="module")
def embedded(
    fill: Callable[..., None],
    write_rows: Callable[..., Path],
    catalog: Catalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DuckDBBackend]:
    """The embedded engine over the rows that ClickHouse is filled with."""
    directory, chance = tmp_path_factory.mktemp("keys"), Random(7)  # noqa: S311 - no secret
    for table, columns in published_tables().items():
        made = make_rows(chance)
        rows = [{name: row[name] for name in row if name in columns} for row in made]
        fill(table, list(rows[0]), rows)
        write_rows(directory, rows, table=table)
    backend = DuckDBBackend(directory, catalog)
    yield backend
    asyncio.run(backend.aclose())


@pytest.mark.parametrize("caller", [LOCAL, ADA, Caller("nobody")], ids=lambda who: who.subject)
@pytest.mark.parametrize("datasource", DATASOURCES)
def test_both_engines_list_the_same_keys(
    embedded: DuckDBBackend,
    open_backend: Callable[..., ClickHouseBackend],
    runner: asyncio.Runner,
    datasource: DatasourceName,
    caller: Caller,
) -> None:
    asked = (datasource, START, END, caller)
    distributed = runner.run(open_backend().metadata_keys(*asked))
    expected = runner.run(embedded.metadata_keys(*asked))

    assert expected is not None
    assert distributed is not None
    assert distributed.points == expected.points
    assert bool(expected.points) == (caller.subject != "nobody")


def test_explain_shows_the_statement_without_the_servers_address(
    open_backend: Callable[..., ClickHouseBackend],
) -> None:
    query = Query(
        datasource="modelMetrics",
        type="distribution",
        start_ts=START,
        end_ts=END,
        group_by=("modelName",),
    )
    text = open_backend().explain(query, ADA)

    assert ' FROM "gateway_model_metrics" WHERE "CreatedAt" >= fromUnixTimestamp64Micro(' in text
    assert text.split("\n")[1:] == [
        'p0 = "2026-07-01T00:00:00.000Z"',
        'p1 = "2026-07-08T00:00:00.000Z"',
        *('p2 = "ada"', 'p3 = "user"', 'p4 = "it\'s"', 'p5 = "search"'),
    ]
    assert [secret for secret in ("127.0.0.1", "clickhouse:", "metrics.") if secret in text] == []
