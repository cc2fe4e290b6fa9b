"""Each ruling of docs/rulings.md holds where callers meet it: the API, a tool, the gateway."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp.client import Client
from mcp_types import TextContent
from tests.http.api.conftest import Book, build_api

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
Call = tuple[str, str, Any]

TESTS: Final = Path(__file__).parent
NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
RATES: Final = tuple(name for name in AGGREGATION_TYPES if name.startswith("rate"))
PLAIN: Final = tuple(name for name in AGGREGATION_TYPES if name not in RATES)


def _load_writer() -> Callable[..., Path]:
    """`write_rows` of the engine's own tests: the tests are no package."""
    spec = importlib.util.spec_from_file_location(
        "tests_rulings_parquet", TESTS / "backends" / "parquet.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    write: Callable[..., Path] = module.write_rows
    return write


WRITE: Final = _load_writer()


class World:
    """Rows in Parquet, the API over them in memory, and an MCP client's tools beside it."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._numbers = count()
        self._open: list[DuckDBBackend] = []
        self.directory = directory
        self.backend = self.engine()

    def fill(self, *rows: Row, table: str = "gateway_model_metrics") -> None:
        """These rows and no other; July 10th, noon, is when a row was made that does not say."""
        self.directory = self._root / str(next(self._numbers))
        self.directory.mkdir()
        if rows:
            WRITE(self.directory, rows, table=table)
        self.backend = self.engine()

    def engine(self, **options: Any) -> DuckDBBackend:
        engine = DuckDBBackend(self.directory, load_catalog(), threads=1, **options)
        self._open.append(engine)
        return engine

    async def post(
        self, body: Row, *, book: Book | None = None, token: str = "", **options: Any
    ) -> httpx.Response:
        engine = self.engine(**options) if options else self.backend
        app = build_api(engine, book)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post(PATH, json=body, headers=headers)

    async def ask(self, *asked: str, filters: Sequence[Call] = (), **changes: Any) -> list[Row]:
        """The data points for July 2026 of modelMetrics, with the changes."""
        response = await self.post(body_of(*asked, filters=filters, **changes))
        assert response.status_code == 200, response.text
        points: list[Row] = response.json()["data"]["dataPoints"]
        return points

    async def refusal(self, *asked: str, filters: Sequence[Call] = (), **changes: Any) -> str:
        """All problems that a question of which nothing comes is said to have."""
        response = await self.post(body_of(*asked, filters=filters, **changes))
        assert response.status_code == 400, response.text
        return "; ".join(response.json()["details"])

    async def call(self, tool: str, backend: Backend | None = None, **arguments: Any) -> str:
        """The answer of a tool to an MCP client."""
        server = build_server(Settings(), backend=backend or self.backend, clock=lambda: NOW)
        async with Client(server) as client:
            result = await client.call_tool(tool, arguments)
        (block,) = result.content
        assert isinstance(block, TextContent)
        assert not result.is_error, block.text
        return block.text

    async def close(self) -> None:
        for engine in self._open:
            await engine.aclose()


def body_of(*asked: str, filters: Sequence[Call] = (), **changes: Any) -> Row:
    """A request body: aggregations are text such as "sum inputTokens"."""
    return {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-08-01T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "timeseries" if "interval" in changes else "distribution",
        "aggregations": [dict(zip(("type", "column"), a.split(), strict=True)) for a in asked],
        "filters": [{"fieldName": f, "operator": o, "value": v} for f, o, v in filters],
        **changes,
    }


def at(text: str, **columns: Any) -> Row:
    return {"CreatedAt": datetime.fromisoformat(text).replace(tzinfo=UTC), **columns}


def models(*names: str | None) -> list[Row]:
    return [{"ModelName": name} for name in names]


def of(rows: Sequence[Row], *names: str) -> list[Any]:
    """The cells of these names, row by row."""
    return [row[names[0]] if len(names) == 1 else tuple(row[n] for n in names) for row in rows]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()


Check = Callable[[World], Awaitable[None]]
CHECKS: Final[dict[str, tuple[str, Check]]] = {}
"""What is asked, and the check of its ruling, by the ruling's name."""


def rules(name: str, question: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        CHECKS[name] = (question, check)
        return check

    return keep


def test_each_ruling_has_a_check_and_each_check_a_ruling() -> None:
    text = (TESTS.parent / "docs" / "rulings.md").read_text("utf-8")
    ruled = re.findall(r"^\| (R\d+) \| (.+?) \| .+ \|$", text, re.MULTILINE)

    assert ruled == [(name, question) for name, (question, _) in CHECKS.items()]


@pytest.mark.parametrize("name", [f"R{number}" for number in range(1, 26)])
async def test_it_is_as_it_is_ruled(world: World, name: str) -> None:
    await CHECKS[name][1](world)


@rules("R1", "no group-by, nothing matches")
async def _one_row(world: World) -> None:
    world.fill(*models("gpt"))
    asked = [f"{type_} inputTokens" for type_ in PLAIN]

    (row,) = await world.ask(*asked, filters=[("modelName", "EQUAL", "other")])

    zero = {"total", "countInputTokens", "countDistinctInputTokens"}
    assert len(row) == 1 + len(PLAIN)
    assert row == {name: 0 if name in zero else None for name in row}


@rules("R2", "group-by, nothing matches")
async def _no_rows(world: World) -> None:
    world.fill(*models("gpt"))
    never = [("modelName", "EQUAL", "other")]

    for group in ("modelName", "team", "userEmail", "metadata.env"):
        assert await world.ask("count inputTokens", groupBy=[group], filters=never) == []


@rules("R3", "a bucket without rows")
async def _gap(world: World) -> None:
    made = {"InputTokens": 7, "LatencyMs": 5.0, "ModelName": "gpt"}
    rows = [at("2026-07-01", **made), at("2026-07-03", **made)]
    world.fill(*rows, rows[1] | {"InputTokens": None})
    window: Row = {"startTs": "2026-07-01T00:00:00Z", "endTs": "2026-07-04T00:00:00Z"}
    asked = ["sum inputTokens", "count inputTokens", "countDistinct modelName", "p50 latencyMs"]

    rows = await world.ask(*asked, interval="1 day", **window)
    answer = await world.call("query_timeseries", interval="1 day", aggregations=asked, **window)

    assert of(rows, "startTimestamp") == ["2026-07-01T00:00:00.000Z", "2026-07-03T00:00:00.000Z"]
    assert answer.splitlines()[-5:] == [
        "time|total|sumInputTokens|countInputTokens|countDistinctModelName|p50LatencyMs",
        "---|---|---|---|---|---",
        "2026-07-01|1|7|1|1|5",
        "2026-07-02|0|0|0|0|null",
        "2026-07-03|2|7|1|1|5",
    ]


@rules("R4", "where buckets begin")
async def _buckets(world: World) -> None:
    world.fill(at("2026-07-08T13:45:30"), at("2026-07-08T13:45:50"), at("2026-07-08T13:46:20"))
    # 2026-07-08 is day 20,642 = 3 x 6,880 + 2; 13:45:30 is second 1,783,518,330 = 7 x
    # 254,788,332 + 6; July 2026 is month 678 = 5 x 135 + 3.
    for interval, start, end in (
        ("7 seconds", "2026-07-08T13:45:24", "2026-07-08T13:45:31"),
        ("25 minutes", "2026-07-08T13:40:00", "2026-07-08T14:05:00"),
        ("5 hours", "2026-07-08T12:00:00", "2026-07-08T17:00:00"),
        ("3 days", "2026-07-06T00:00:00", "2026-07-09T00:00:00"),
        ("1 week", "2026-07-06T00:00:00", "2026-07-13T00:00:00"),
        ("5 months", "2026-04-01T00:00:00", "2026-09-01T00:00:00"),
        ("10 years", "2020-01-01T00:00:00", "2030-01-01T00:00:00"),
    ):
        row, *_ = await world.ask(interval=interval)
        assert of([row], "startTimestamp", "endTimestamp") == [(f"{start}.000Z", f"{end}.000Z")]

    part: Row = {"startTs": "2026-07-08T13:45:40Z", "endTs": "2026-07-08T13:46:20Z"}
    assert of(await world.ask(interval="1 hour", **part), "startTimestamp", "total") == [
        ("2026-07-08T13:00:00.000Z", 1)
    ]


@rules("R5", "group-by `team`")
async def _teams(world: World) -> None:
    world.fill(
        *({"Teams": teams} for teams in (["red", "blue"], ["red"], ["blue", "blue"], [], None))
    )

    rows = await world.ask(groupBy=["team"])

    assert of(rows, "team", "total") == [("blue", 2), ("red", 2), (None, 2)]


@rules("R6", "`metadata.<key>`")
async def _metadata(world: World) -> None:
    world.fill(*({"Metadata": cell} for cell in ({"env": "prod"}, {"other": "x"}, None)))

    rows = await world.ask(groupBy=["metadata.env"])

    assert rows == [{"metadata.env": None, "total": 2}, {"metadata.env": "prod", "total": 1}]


SUBJECTS: Final = (("ann", "user"), ("bot", "user"), ("bot", "virtualaccount"), ("bot", None))
SUBJECT_ROWS: Final = tuple(
    {
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": kind,
        "ModelName": f"{slug} {kind}",
        "Teams": None,
    }
    for slug, kind in SUBJECTS
)


@rules("R7", "group-by `userEmail`, `virtualaccount`")
async def _subject_groups(world: World) -> None:
    world.fill(*SUBJECT_ROWS)

    for group_by, expected in (
        (["userEmail"], [("ann", 1), ("bot", 1)]),
        (["virtualaccount"], [("bot", 1)]),
        (["userEmail", "virtualaccount"], [("bot", 3), ("ann", 1)]),
    ):
        rows = await world.ask(groupBy=group_by)
        assert [list(row) for row in rows] == [["createdBySubjectSlug", "total"]] * len(expected)
        assert of(rows, "createdBySubjectSlug", "total") == expected


@rules("R8", "filters `userEmail`, `virtualAccount`")
async def _subject_filters(world: World) -> None:
    world.fill(*SUBJECT_ROWS[:3])

    for field, operator, expected in (
        ("userEmail", "EQUAL", ["bot user"]),
        ("virtualAccount", "EQUAL", ["bot virtualaccount"]),
        ("userEmail", "NOT_EQUAL", ["ann user", "bot virtualaccount"]),
        ("virtualAccount", "NOT_EQUAL", ["ann user", "bot user"]),
    ):
        rows = await world.ask(groupBy=["modelName"], filters=[(field, operator, "bot")])
        assert of(rows, "modelName") == expected


@rules("R9", "null and negative operators")
async def _nulls(world: World) -> None:
    world.fill({"VirtualModelName": "gpt", "Teams": ["red"]}, {"VirtualModelName": None})

    for operator, value in (
        ("NOT_EQUAL", "other"),
        ("NOT_IN", ["other"]),
        ("STRING_NOT_CONTAINS", "other"),
        ("STRING_NOT_STARTS_WITH", "other"),
        ("STRING_NOT_ENDS_WITH", "other"),
        ("IS_NULL", False),
    ):
        rows = await world.ask(
            groupBy=["virtualModel"], filters=[("virtualModelName", operator, value)]
        )
        assert of(rows, "virtualModelName") == ["gpt"], operator
    for found in (("virtualModelName", "IS_NULL", True), ("team", "ARRAY_HAS_NONE", ["red"])):
        assert of(
            await world.ask(groupBy=["virtualModel"], filters=[found]), "virtualModelName"
        ) == [None]


@rules("R10", "text operators")
async def _text(world: World) -> None:
    world.fill(*models("100%", "1000", "GPT", "gpt_4", "gpt-4", "\uffff", "😀"))

    for operator, value, expected in (
        ("STRING_CONTAINS", "PT", ["GPT"]),
        ("STRING_CONTAINS", "0%", ["100%"]),
        ("STRING_STARTS_WITH", "gpt_", ["gpt_4"]),
        ("GREATER_THAN", "\uffff", ["😀"]),
        ("LESS_THAN", "a", ["100%", "1000", "GPT"]),
    ):
        rows = await world.ask(groupBy=["modelName"], filters=[("modelName", operator, value)])
        assert of(rows, "modelName") == expected


@rules("R11", "BETWEEN")
async def _between(world: World) -> None:
    world.fill(*({"LatencyMs": float(ms)} for ms in range(1, 6)))

    (row,) = await world.ask("sum latencyMs", filters=[("latencyMs", "BETWEEN", [2, 4])])
    refused = await world.refusal(filters=[("latencyMs", "BETWEEN", [4, 2])])

    assert row == {"total": 3, "sumLatencyMs": 9.0}
    assert refused.startswith("filters[0].value: ")


@rules("R12", "percentiles")
async def _percentiles(world: World) -> None:
    world.fill(*({"LatencyMs": ms} for ms in (1.0, 2.0, 3.0, 10.0)))

    (row,) = await world.ask("p25 latencyMs", "p50 latencyMs", "p90 latencyMs", "p999 latencyMs")

    expected = {"p25LatencyMs": 1.75, "p50LatencyMs": 2.5, "p90LatencyMs": pytest.approx(7.9)}
    assert row == {"total": 4, **expected, "p999LatencyMs": pytest.approx(9.979)}


@rules("R13", "countDistinct")
async def _distinct(world: World) -> None:
    world.fill(*models(*(f"m{n % 5000}" for n in range(6000)), None))

    (row,) = await world.ask("countDistinct modelName")

    assert row == {"total": 6001, "countDistinctModelName": 5000}


@rules("R14", "rates")
async def _rates(world: World) -> None:
    rows = [at(f"2026-0{month}-10", InputTokens=n) for month in (6, 7) for n in (2, 4)]
    world.fill(*rows)
    asked = [f"{type_} inputTokens" for type_ in RATES]
    window: Row = {"startTs": "2026-06-09T00:00:00Z", "endTs": "2026-07-31T00:00:00Z"}

    got = await world.ask(*asked, interval="1 month", **window)

    names = {"rateSum": 6, "rateAvg": 3, "rateMin": 2, "rateMax": 4, "ratePerMinute": 360}
    for row, days in zip(got, (30, 31), strict=True):
        seconds = days * 86_400
        for type_, amount in names.items():
            assert row[f"{type_}InputTokens"] == pytest.approx(amount / seconds), type_
    assert {*RATES} == {*names}
    for rate in RATES:
        assert rate in await world.refusal(f"{rate} inputTokens")


@rules("R15", "order of rows")
async def _order(world: World) -> None:
    made = [
        at(f"2026-07-{day}", ModelName=name, RequestType=kind)
        for day, names in (("11", ["a"]), ("10", ["z", "z", "b", "B", None]))
        for name in names
        for kind in (["x", None] if name == "b" else ["x"])
    ]
    world.fill(*made)
    keys = ("modelName", "requestType", "total")

    flat = await world.ask(groupBy=["modelName", "requestType"])
    series = await world.ask(groupBy=["modelName"], interval="1 day")

    assert of(flat, *keys) == [
        ("z", "x", 2),
        ("B", "x", 1),
        ("a", "x", 1),
        ("b", "x", 1),
        ("b", None, 1),
        (None, "x", 1),
    ]
    assert [(row["startTimestamp"][8:10], row["modelName"]) for row in series] == [
        ("10", "b"),
        ("10", "z"),
        ("10", "B"),
        ("10", None),
        ("11", "a"),
    ]


@rules("R16", "cacheMetrics")
async def _cache(world: World) -> None:
    world.fill(*({"CacheLookupStatus": status} for status in ("hit", "miss", "", None)))

    assert await world.ask(datasource="cacheMetrics") == [{"total": 3}]
    assert await world.ask() == [{"total": 4}]


@rules("R17", "timestamps")
async def _timestamps(world: World) -> None:
    world.fill(at("2026-07-10T12:00:00.123456"))

    (row,) = await world.ask(interval="1 second", startTs="2026-07-10T14:00:00+02:00")

    assert row["startTimestamp"] == "2026-07-10T12:00:00.000Z"
    assert row["endTimestamp"] == "2026-07-10T12:00:01.000Z"


@rules("R18", "empty windows, times without an offset, unknown names, duplicates")
async def _refused(world: World) -> None:
    for said, asked, changes in (
        ("startTs", [], {"startTs": "2026-08-01T00:00:00Z"}),
        ("startTs", [], {"startTs": "2026-07-01T00:00:00"}),
        ("endTs", [], {"endTs": "2026-08-01T00:00:00"}),
        ("modelNmae", [], {"groupBy": ["modelNmae"]}),
        ("inputToken", ["sum inputToken"], {}),
        ("modelNmae", [], {"filters": [("modelNmae", "EQUAL", "x")]}),
        ("groupby", [], {"groupby": ["modelName"]}),
        ("modelName", [], {"groupBy": ["modelName", "modelName"]}),
        ("sum inputTokens", ["sum inputTokens", "sum inputTokens"], {}),
    ):
        assert said in await world.refusal(*asked, **changes), changes


@rules("R19", "more rows than the cap")
async def _cap(world: World) -> None:
    world.fill(*models("a", "b", "c"))
    body = body_of(groupBy=["modelName"])

    over = await world.post(body, row_cap=2)
    within = await world.post(body, row_cap=3)

    assert (over.status_code, within.status_code) == (400, 200)
    assert "3 rows, the limit is 2" in over.json()["message"]


@rules("R20", "error body")
async def _error(world: World) -> None:
    response = await world.post(body_of("sum nothing", groupBy=["nobody"], datasource="mcpMetrics"))
    body = response.json()

    assert list(body) == ["statusCode", "message", "code", "details"]
    assert (body["statusCode"], response.status_code) == (400, 400)
    assert (type(body["message"]), type(body["code"])) == (str, str)
    assert len(body["details"]) == 2
    assert [word for word in ("nothing", "nobody") if word not in "".join(body["details"])] == []


@rules("R21", "response")
async def _response(world: World) -> None:
    world.fill(*models("gpt"))

    response = await world.post(body_of())

    assert response.json() == {"data": {"dataPoints": [{"total": 1}]}}


@rules("R22", "numbers")
async def _numbers(world: World) -> None:
    large = 2**62 + 1
    costs = (0.1, 0.2, float("nan"), float("inf"))
    world.fill(*({"InputTokens": large, "CostInUSD": cost} for cost in costs))

    response = await world.post(body_of("sum inputTokens", "sum costInUSD", "max costInUSD"))

    assert f'"sumInputTokens":{4 * large}' in response.text
    (row,) = response.json()["data"]["dataPoints"]
    assert (row["sumCostInUSD"], row["maxCostInUSD"]) == (0.1 + 0.2, 0.2)


@rules("R23", "whose rows")
async def _whose(world: World) -> None:
    world.fill(
        *(
            {"ModelName": name, **row, "Teams": teams}
            for name, row, teams in zip(
                ("ann", "bot", "account", "nobody"), SUBJECT_ROWS, ([], ["red"], None, None),
                strict=True,
            )
            for row in [{k: v for k, v in row.items() if k.startswith("CreatedBy")}]
        )
    )  # fmt: skip
    made: dict[str, tuple[Any, ...]] = {
        "admin": ("ann", "user", [], True, ["account", "ann", "bot", "nobody"]),
        "own": ("ann", "user", [], False, ["ann"]),
        "team": ("ann", "user", ["red"], False, ["ann", "bot"]),
        "kind": ("bot", "virtualaccount", [], False, ["account"]),
    }

    for slug, kind, teams, is_admin, expected in made.values():
        book = Book()
        token = book.issue(slug, kind, teams, is_tenant_admin=is_admin)
        body = body_of(groupBy=["modelName"])
        response = await world.post(body, book=book, token=token)
        assert of(response.json()["data"]["dataPoints"], "modelName") == expected


@rules("R24", "count and countDistinct of `team`")
async def _team_counts(world: World) -> None:
    world.fill(*({"Teams": teams} for teams in (["red", "blue"], ["red", "red"], [], None)))

    (row,) = await world.ask("count team", "countDistinct team")

    assert row == {"total": 4, "countTeam": 2, "countDistinctTeam": 2}


@rules("R25", "bucket parameters sent to a gateway")
async def _sent(world: World) -> None:
    sent: list[Row] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json={"data": {"dataPoints": []}})

    for interval in ("30 seconds", "1 hour", "2 weeks", "1 month", "1 year"):
        gateway = GatewayBackend(
            "https://t.example.com", "t", load_catalog(), transport=httpx.MockTransport(answer)
        )
        window: Row = {"startTs": "2026-07-01T00:00:00Z", "endTs": "2026-07-01T02:00:00Z"}
        await world.call("query_timeseries", gateway, interval=interval, **window)
        await gateway.aclose()

    asked = {body["interval"]: body.get("intervalInSeconds") for body in sent if "interval" in body}
    assert asked == {
        "30 second": 30,
        "1 hour": 3600,
        "2 week": 1_209_600,
        "1 month": None,
        "1 year": None,
    }
