"""Fields that the catalog lacks go to the remote gateway alone, and only where it is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

QUESTION = {"startTs": "2026-07-01", "endTs": "2026-07-02", "groupBy": ["region"]}


async def ask(settings: Settings) -> str:
    async with Client(build_server(settings)) as client:
        (block,) = (await client.call_tool("query_distribution", QUESTION)).content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize("way", ["refuse", "pass"])
async def test_an_engine_refuses_a_field_that_is_not_in_the_catalog(
    tmp_path: Path, way: str
) -> None:
    text = await ask(Settings.model_validate({"backend": str(tmp_path), "unknown_fields": way}))

    assert '"region" is not a group-by field of modelMetrics' in text


async def test_the_gateway_is_refused_it_too_unless_that_is_set() -> None:
    text = await ask(Settings(backend="https://127.0.0.1:1"))

    assert '"region" is not a group-by field of modelMetrics' in text


async def test_the_gateway_is_asked_where_that_is_set() -> None:
    text = await ask(Settings(backend="https://127.0.0.1:1", unknown_fields="pass"))

    assert text.startswith("Error (settings): there is no gateway token")
