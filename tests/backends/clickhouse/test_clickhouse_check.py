"""`check` says of each ClickHouse table what questions would meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from gateway_metrics_mcp.backends.clickhouse.tables import create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.cli.check import check
from gateway_metrics_mcp.settings import Settings

TABLE: Final = "gateway_model_metrics"
OTHER: Final = "gateway_mcp_metrics"


@pytest.fixture
def site(load_beside: Callable[[str], ModuleType], server: object) -> Iterator[Any]:
    """The server with its HTTP interface, and its login."""
    del server
    module = load_beside("clickhouse_http")
    with module.serve() as site:
        site.settings = {"user": module.USER, "password": module.PASSWORD}
        yield site


@pytest.fixture
def own(server: Client) -> Iterator[Client]:
    server.command("CREATE DATABASE own")
    yield server
    server.command("DROP DATABASE own")


async def lines_of(site: Any, *tables: str) -> list[str]:
    settings = Settings(
        backend=f"clickhouse://{site.settings['user']}@127.0.0.1:{site.port}/own",
        clickhouse_password=SecretStr(site.settings["password"]),
    )
    lines = [str(finding) for finding in await check(settings)]
    assert site.settings["password"] not in "\n".join(lines)
    return [line for line in lines if line[6:].startswith(tables)]


@pytest.mark.usefixtures("proxyless")
async def test_it_names_engines_and_all_columns_that_cannot_be_read(site: Any, own: Client) -> None:
    columns = "CreatedAt DateTime, CostInUSD String, Teams Date, model_name String"
    own.command(f"CREATE TABLE own.{TABLE} ({columns}) ENGINE = Memory")
    own.command(create_table(f"own.{OTHER}", published_tables()[OTHER]))

    failed, good = await lines_of(site, TABLE, OTHER)

    assert failed.startswith(f"FAIL  {TABLE}: the column CostInUSD of {TABLE} is of type String")
    assert f"the column Teams of {TABLE} is of type Date" in failed
    assert good == f"ok    {OTHER}: MergeTree"


@pytest.mark.usefixtures("proxyless")
async def test_it_says_what_reads_otherwise_than_it_was_written(site: Any, own: Client) -> None:
    columns = "CreatedAt DateTime, TraceId String, model_name String, Teams Array(String)"
    engine = "ReplacingMergeTree ORDER BY TraceId"
    own.command(f"CREATE TABLE own.{TABLE} ({columns}) ENGINE = {engine}")
    own.command(f"CREATE TABLE own.{OTHER} (created_at DateTime) ENGINE = Memory")

    (said,) = await lines_of(site, TABLE)
    (failed,) = await lines_of(site, "mcpMetrics")

    assert said == (
        f"ok    {TABLE}: ReplacingMergeTree; rows count as after its merges; a null inside Teams"
        " was stored as an empty text; gateway_model_metrics has no column ModelName, which reads"
        " as null; it has model_name"
    )
    assert failed.startswith(f"FAIL  mcpMetrics: {OTHER} has no column CreatedAt, so its 0 rows")
    assert await lines_of(site, OTHER) == []


@pytest.mark.usefixtures("proxyless")
async def test_it_counts_rows_without_a_time(site: Any, own: Client) -> None:
    own.command(f"CREATE TABLE own.{TABLE} (CreatedAt Nullable(DateTime)) ENGINE = Memory")
    rows = "VALUES (NULL), ('2026-07-10 12:00:00'), (NULL)"
    own.command(f"INSERT INTO own.{TABLE} {rows}")

    (said,) = await lines_of(site, TABLE)

    assert said.startswith(f"ok    {TABLE}: Memory; 2 rows have no time in CreatedAt")
    assert said.endswith("they are in no window, and no question counts them")
