"""What is refused before any tool is counted, by status and without a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("", "utf-8")
    return Settings(backend=str(tmp_path), transport="http", tokens=tokens)


def test_refused_requests_are_counted_by_status(settings: Settings) -> None:
    server = build_server(settings)
    with TestClient(build_http_app(server, settings), base_url="http://127.0.0.1:8000") as client:
        answers = [
            client.post("/mcp", json={}, headers={"authorization": "Bearer nobody-knows"}),
            client.post("/mcp", json={}),
            client.post("/mcp", json={}, headers={"host": "evil.example.com"}),
        ]
        text = client.get("/metrics").text

    assert [answer.status_code for answer in answers] == [401, 401, 421]
    assert 'gateway_metrics_refused_requests_total{status="401"} 2.0' in text
    assert 'gateway_metrics_refused_requests_total{status="421"} 1.0' in text
    assert "nobody-knows" not in text
    assert server.meter.under_way == 0
