"""A gateway on loopback that answers by arithmetic, in both generations of its responses."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from product import API_PATH
from questions import WEEK, Call, one, rows, series

_NAMES: Final = {
    "userEmail": "createdBySubjectSlug",
    "virtualaccount": "createdBySubjectSlug",
    "virtualModel": "virtualModelName",
}
_GROUPS: Final[Mapping[str, tuple[Any, ...]]] = {
    "modelName": ("gpt-4o", "claude", None),
    "createdBySubjectSlug": ("ada@example.com", "ci-bot", "bob@example.com"),
    "cacheLookupStatus": ("HIT", "miss", "unheard-of"),
    "guardrailResult": ("pass", "blocked", "error"),
}

FAILURES: Final[Mapping[str, tuple[int, str, dict[str, str]]]] = {
    "401": (401, '{"message": "bad token"}', {}),
    "403": (403, '{"message": "no right"}', {}),
    "404": (404, "<html>nothing</html>", {}),
    "422 with a message": (422, '{"statusCode": 422, "message": "column is unknown"}', {}),
    "429": (429, "{}", {"Retry-After": "7"}),
    "500": (500, "{}", {}),
    "503": (503, "", {"Retry-After": "3"}),
    "302": (302, "", {"Location": "https://elsewhere.example.com/"}),
    "no JSON": (200, "hello", {}),
    "no data": (200, '{"data": 5}', {}),
    "another key": (200, '{"data": {"dataPoints": [{"other": 1}]}}', {}),
    "text for a number": (200, '{"data": {"dataPoints": [{"total": "many"}]}}', {}),
    "no rows": (200, '{"data": {"dataPoints": []}}', {}),
    "no rows of old": (200, '{"data": []}', {}),
}
"""What goes wrong: status, body, headers."""


class Gateway:
    """What it was sent, and how it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[str] = []
        self.is_older = False
        self.failure: tuple[int, str, dict[str, str]] | None = None

    def take_sent(self) -> list[str]:
        """The requests since the last time; those side by side come in any order."""
        taken, self.sent = sorted(self.sent), []
        return taken

    async def answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        token = request.headers.get("authorization", "no token")
        self.sent.append(f"{token} {json.dumps(body, ensure_ascii=False)}")
        if self.failure is not None:
            status, text, headers = self.failure
            return Response(text, status, {"content-type": "application/json", **headers})
        points = list(self._points(body))
        data = {"data": points if self.is_older else {"dataPoints": points}}
        return Response(json.dumps(data), media_type="application/json")

    def _points(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        names = [_NAMES.get(name, name) for name in body.get("groupBy", [])]
        for number, start in enumerate(_starts(body)):
            for group in range(3 if names else 1):
                point: dict[str, Any] = {}
                if start is not None and self.is_older:
                    point["timestamp"] = _iso(start)
                elif start is not None:
                    end = start + timedelta(seconds=body["intervalInSeconds"])
                    point |= {"startTimestamp": _iso(start), "endTimestamp": _iso(end)}
                for name in names:
                    point[name] = _GROUPS.get(name, (f"{name} a", f"{name}|b", "c"))[group]
                total = _total(body, number, group, is_grouped=bool(names))
                if not self.is_older:
                    point["total"] = total
                for given in body.get("aggregations", []):
                    function, column = given["type"], given["column"]
                    name = f"{function}{column[0].upper()}{column[1:]}"
                    point[name] = _value(function, total, len(column))
                yield point


def _starts(body: Mapping[str, Any]) -> Iterator[datetime | None]:
    if body["type"] != "timeseries":
        yield None
        return
    start, end = (datetime.fromisoformat(body[name]) for name in ("startTs", "endTs"))
    while start < end:
        yield start
        start += timedelta(seconds=body["intervalInSeconds"])


def _iso(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _total(body: Mapping[str, Any], number: int, group: int, *, is_grouped: bool) -> int:
    """More the later the window begins, and fewer the more filters there are."""
    day = datetime.fromisoformat(body["startTs"]).toordinal() % 100
    each = [(100 * (one + 1) + 7 * day + number) for one in range(3)]
    whole = each[group] if is_grouped else sum(each)
    return whole // (1 + 4 * len(body.get("filters", [])))


def _value(function: str, total: int, letters: int) -> float | int:
    if function.startswith("count"):
        return total if function == "count" else total % 9
    return total * letters / 64 if function.startswith("sum") else letters * 12.5 + total % 16


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """The address of an application on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


@asynccontextmanager
async def start_gateway() -> AsyncIterator[Gateway]:
    """A gateway that listens until it is let go of."""
    gateway = Gateway()
    app = Starlette(routes=[Route(API_PATH, gateway.answer, methods=["POST"])])
    async with serve(app) as gateway.url:
        yield gateway


def list_upstream() -> Iterator[Call]:
    """What a gateway of each generation is asked for."""
    for datasource, values, by in (
        ("modelMetrics", "sum costInUSD, p95 latencyMs", "modelName"),
        ("mcpMetrics", "avg latencyMs", "toolName"),
        ("guardrailMetrics", "guardrailBlockRate", "guardrailName"),
        ("cacheMetrics", "cacheHitRate", "modelName"),
        ("agentMetrics", "errorRate", "agentName"),
        ("configMetrics", "", "configType"),
    ):
        yield rows(WEEK, values, by, datasource=datasource)
    for form in ("exact", "json", "explain"):
        yield rows(WEEK, "sum costInUSD, share", "userEmail", format=form)
    yield rows(WEEK, "sum costInUSD", "modelName", compareTo="previous")
    yield rows(WEEK, "costPerMillionTokens, errorRate", "team")
    yield rows("today", "sum costInUSD", "team", limit=1, offset=1, orderBy="-total")
    yield rows(WEEK, "", "virtualModel", filters=[one("team", "EQUAL", ["search"])])
    yield rows(WEEK, "", "modelName", filters=[one("modelName", "IN", ["gpt-4o", "gpt4o"])])
    yield rows(WEEK, "", filters=[one("userEmail", "EQUAL", ["gone@example.com"])])
    yield rows(WEEK, "sum costInUSD", "metadata.environment")
    yield series("last 3 days", "sum costInUSD", "modelName", interval="1 day")
    yield series("last 3 days", "sum costInUSD", interval="1 day", timezone="Asia/Kolkata")
    yield series("last 3 days", "p95 latencyMs", interval="1 day", timezone="Europe/Berlin")
    yield series("last 24 hours", "errorRate")
    yield "list_values", {"field": "modelName"}
    yield "list_values", {"field": "metadata"}
    yield "list_values", {"field": "userEmail", "search": "ada"}
    yield rows(WEEK, "sum cost", "model")
