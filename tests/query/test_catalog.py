"""The catalog is whole, and users can add to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.vocabulary import DATASOURCES

OWN = {
    "datasources": {
        "mcpMetrics": {
            "columns": {
                "errorCode": {
                    "type": "number",
                    "aggregations": "numeric",
                    "tableColumn": "ErrorCode",
                }
            },
            "groupBy": {"errorCode": {"type": "number", "tableColumn": "ErrorCode"}},
            "filters": {
                "isToolCallExecutionError": {
                    "type": "boolean",
                    "operators": ["EQUAL"],
                    "tableColumn": "IsToolCallExecutionError",
                }
            },
        }
    }
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_the_catalog_has_every_datasource(catalog: Catalog) -> None:
    assert tuple(catalog.datasources) == DATASOURCES


def test_a_file_of_ones_own_adds_fields(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path / "own.json", OWN))

    query = read_query(
        {
            "datasource": "mcpMetrics",
            "type": "distribution",
            "startTs": "2026-07-01T00:00:00Z",
            "endTs": "2026-07-02T00:00:00Z",
            "aggregations": [{"type": "max", "column": "errorCode"}],
            "groupBy": ["errorCode", "toolName"],
            "filters": [
                {"fieldName": "isToolCallExecutionError", "operator": "EQUAL", "value": True}
            ],
        },
        catalog,
    )

    assert catalog.datasources[query.datasource].response_key("errorCode") == "errorCode"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], 'the one key "datasources"'),
        ({"datasources": {"modelMetric": {}}}, "unknown datasource 'modelMetric'"),
        ({"datasources": {"mcpMetrics": {"fields": {}}}}, "unknown key 'fields'"),
        (
            {"datasources": {"mcpMetrics": {"filters": {"x": {"operators": "numbers"}}}}},
            "unknown set 'numbers'",
        ),
        (
            {"datasources": {"mcpMetrics": {"groupBy": {"x": {"column": "X"}}}}},
            "datasources.mcpMetrics.groupBy.x",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(SettingsError, match="the catalog file") as caught:
        load_catalog(write(tmp_path / "own.json", content))

    assert says in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match="the catalog file"):
        load_catalog(path)
