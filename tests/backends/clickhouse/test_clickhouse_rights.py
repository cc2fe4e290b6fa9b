"""Callers with rights of their own attack at random, as in tests/harm, over ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr
from tests.harm.rights import ASKERS, TABLES, Rows, World, attack, draw, make_rows

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query


@pytest.fixture
def world(
    tmp_path: Path,
    server: Client,
    load_beside: Callable[[str], ModuleType],
    proxyless: None,
) -> Iterator[World]:
    """Sources of rows that are databases of the ClickHouse in this process, over HTTP."""
    del proxyless
    module, filled = load_beside("clickhouse_http"), list[str]()
    with module.serve() as site:

        def store(name: str, rows: Rows) -> dict[str, Any]:
            filled.append(name)
            _fill(server, name, rows)
            url = f"clickhouse://{module.USER}@127.0.0.1:{site.port}/{name}"
            return {"backend": url, "clickhouse_password": SecretStr(module.PASSWORD)}

        world = World(make_rows(draw(1)), tmp_path, store)
        world.issue()
        yield world
    for name in filled:
        server.command(f"DROP DATABASE {name}")


def _fill(server: Client, database: str, rows: Rows) -> None:
    server.command(f"CREATE DATABASE {database}")
    for table in TABLES:
        published = published_tables()[table]
        create = create_table(f"{database}.{table}", published)
        # Days after 2199 and a partition for each are no matter here.
        server.command(create.partition("PARTITION BY")[0] + "ORDER BY tuple()")
        if not rows[table]:
            continue
        names = [*rows[table][0]]
        stored = [
            [
                datetime.fromisoformat(row[name]) if name == "CreatedAt" else row[name]
                for name in names
            ]
            for row in rows[table]
        ]
        server.insert(f"{database}.{table}", stored, names)


async def test_random_questions_reveal_nothing_of_others(world: World) -> None:
    seen = await attack(world, 1, 12, ASKERS[2:3])

    assert seen["planted"]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [10, 11])
async def test_many_random_questions_reveal_nothing_of_others(world: World, seed: int) -> None:
    seen = await attack(world, seed, 250, ASKERS)

    assert seen["reckoned"] > 10
    assert seen["read"] > 10


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ('"CreatedAt" DateTime, "ModelName" Tuple(qxa String)', "the column ModelName"),
        ('"CreatedAt" DateTime, "MODELNAME" String, "modelname" String', "modelname"),
        ('"qxtime" DateTime, "ModelName" String', "its 1 rows are in no window.*qxtime"),
    ],
    ids=["another type", "two columns alike", "no time"],
)
async def test_what_cannot_be_read_is_named_to_those_who_see_all_rows(
    columns: str,
    named: str,
    server: Client,
    open_backend: Callable[..., ClickHouseBackend],
    make_query: Callable[..., Query],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.command("CREATE DATABASE damaged")
    server.command(f"CREATE TABLE damaged.{TABLES[0]} ({columns}) ENGINE Memory")
    server.command(
        "INSERT INTO damaged.gateway_model_metrics SELECT * FROM generateRandom() LIMIT 1"
    )
    backend, question = open_backend(database="damaged"), make_query(groupBy=["modelName"])

    with pytest.raises(EngineError, match=named):
        await backend.query(question, LOCAL)
    with pytest.raises(EngineError, match=r"^not all rows of gateway_model_metrics in this window"):
        await backend.query(question, Caller("ada@example.com"))
    assert named.rpartition("*")[2] in caplog.text
    server.command("DROP DATABASE damaged")
