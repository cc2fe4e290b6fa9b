"""Attacks rights at random: rows whose owners are known, questions, and servers to ask.

Each question is asked of all rows and of a source in which the caller's rows are alone: the answers
are the same to the letter, whatever others did. A failure prints the seed and the question.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import duckdb
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PromptReference
from tests.loopback import listen_as_served

from gateway_metrics_mcp.auth.tokens import make_token
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.cli.ingest.command import main as import_rows
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.vocabulary import API_PATH
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
Question = tuple[str, Any]

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
TABLES: Final = ("gateway_model_metrics", "gateway_mcp_metrics")
PLANTED: Final = re.compile(r"qx\w+")
"""Words of the rows that stand nowhere else: each says whose it is."""
LINK: Final = re.compile(r"gateway-metrics://rows\?[^\s\"\\]+")
Way = tuple[Literal["http", "sse"], str]
"""A transport of MCP, and the era of the protocol that a client speaks over it."""
WAYS: Final[tuple[Way, ...]] = (("http", "2026-07-28"), ("http", "legacy"), ("sse", "legacy"))
UNREAD: Final = "not all rows of gateway_"
"""What callers with rights to some rows are told of files that cannot be read."""
WITHOUT_REASONS: Final = ("complete", "prompt", "list_fields")
"""Questions whose answers say less where not all can be read, and not why."""
ADDRESS: Final = re.compile(r"\w@example\.com", re.IGNORECASE)
SUM: Final = {"type": "sum", "column": "inputTokens"}
COUNT: Final = {"type": "count", "column": "modelName"}


FILES: Final = ("qxfile", "qxlink", "qxwhen")
"""Planted words of files and their columns; "qxfile" has rows of the last owner alone."""


def draw(seed: int) -> Random:
    """Chance that can be repeated."""
    return Random(seed)  # noqa: S311 - no secret


# --- the rows, and whose they are ---


@dataclass(frozen=True)
class Owner:
    """Who called: the word in all names of theirs, their subject and their teams."""

    word: str
    subject: str
    type: str = "user"
    teams: tuple[str, ...] = ()
    days: tuple[int, int] = (0, 0)
    """The first and the last day before NOW on which they called."""


OWNERS: Final = (
    Owner("ada", "qxada@example.com", "user", ("qxsearch",), (9, 1)),
    Owner("bob", "qxbob@example.com", "user", ("qxsearch", "qxdata"), (59, 3)),
    Owner("eve", "qxeve@example.com", "user", (), (38, 16)),
    Owner("twin", "qxada@example.com", "virtualaccount", (), (25, 0)),
    Owner("bot", "qxbot", "virtualaccount", ("qxdata",), (6, 0)),
    Owner("caps", "QXADA@example.com", "user", ("qxSearch",), (80, -3)),
    Owner("mal", "qxmal@example.com", "user", ("qxvault",), (120, -6)),
)


@dataclass(frozen=True)
class Asker:
    """Who asks, with which rights."""

    name: str
    subject: str
    type: Any = "user"
    teams: tuple[str, ...] = ()
    is_tenant_admin: bool = False

    def may_see(self, row: Row) -> bool:
        """The rule of docs/api.md, in Python."""
        mine = (row["CreatedBySubjectSlug"], row["CreatedBySubjectType"])
        in_team = not {*self.teams}.isdisjoint(row["Teams"] or ())
        return self.is_tenant_admin or mine == (self.subject, self.type) or in_team


ASKERS: Final = (
    Asker("ada", "qxada@example.com"),
    Asker("bot", "qxbot", "virtualaccount"),
    Asker("lead", "lead@example.com", teams=("qxsearch",)),
    Asker("eve of two teams", "qxeve@example.com", teams=("qxdata", "qxnone")),
    Asker("nobody", "qxad@example.com", teams=("qxsear", "%", "QXSEARCH")),
    Asker("admin", "root@example.com", is_tenant_admin=True),
)


def make_rows(chance: Random) -> Rows:
    """Rows of each owner in each table; those of the last owner are impossible besides."""
    made: dict[str, list[Row]] = {table: [] for table in TABLES}
    for owner in OWNERS:
        for _ in range(40):
            made[TABLES[0]].append(_make_call(owner, chance))
            if chance.random() < 0.4:
                made[TABLES[1]].append(_make_use(owner, chance))
    return made


def _make_common(owner: Owner, chance: Random) -> Row:
    first, last = owner.days
    day = NOW.replace(hour=0, minute=0) - timedelta(chance.choice([first, last, first - 1, last]))
    metadata = {"env": chance.choice(["prod", f"qxenv{owner.word}"])}
    if chance.random() < 0.6:
        metadata[f"qxkey{owner.word}"] = f"qxvalue{owner.word}"
    return {
        "CreatedAt": (day + timedelta(minutes=chance.randrange(560))).isoformat(),
        "CreatedBySubjectSlug": owner.subject,
        "CreatedBySubjectType": owner.type,
        "Teams": list(owner.teams),
        "Metadata": metadata,
        "ConversationId": f"qxtalk{owner.word}{chance.randrange(3)}",
        "LatencyMs": float(chance.randrange(20, 4000)),
    }


def _make_call(owner: Owner, chance: Random) -> Row:
    is_failure, is_virtual = chance.random() < 0.3, chance.random() < 0.2
    row = _make_common(owner, chance) | {
        "ModelName": chance.choice(["gpt-4o", f"qxmodel{owner.word}", f"qxother{owner.word}"]),
        "VirtualModelName": f"qxroute{owner.word}" if is_virtual else None,
        "RequestType": chance.choice(["ChatCompletion", f"qxtype{owner.word}"]),
        "InputTokens": chance.randrange(1, 5000),
        "OutputTokens": chance.randrange(1, 900),
        "CostInUSD": None if chance.random() < 0.2 else chance.randrange(1, 999) / 1000,
        "IsFailure": is_failure,
        "HttpStatusCode": chance.choice([429, 500]) if is_failure else 200,
        "ErrorType": f"qxfault{owner.word}" if is_failure else None,
        "ProviderModelName": f"qxmade{owner.word}",
        "CacheLookupStatus": chance.choice([None, "hit", "miss"]),
    }
    if owner.word == "mal":
        odd = {"OutputTokens": -7919, "LatencyMs": -1.0, "CostInUSD": 1e12, "IsFailure": None}
        row |= {name: value for name, value in odd.items() if chance.random() < 0.3}
        row |= {"InputTokens": None}  # their file has no such column
    return row


def _make_use(owner: Owner, chance: Random) -> Row:
    return _make_common(owner, chance) | {
        "McpServerName": f"qxserver{owner.word}",
        "PrimitiveName": f"qxtool{owner.word}",
        "Method": chance.choice(["tools/call", "tools/list"]),
        "HttpStatusCode": 200,
    }


def write_directory(directory: Path, rows: Rows) -> None:
    """The rows as Parquet files, one a day; their columns are the same without any.

    Those of the last owner are in files of their own, which spell a column in another way.
    """
    kinds = {"TEXT": "VARCHAR", "DOUBLE PRECISION": "DOUBLE", "Array(Text)": "VARCHAR[]"}
    kinds |= {"Map(Text, Text)": "MAP(VARCHAR, VARCHAR)"}
    for table in TABLES:
        files: dict[tuple[str, str], list[Row]] = {("2026-01-01", "rows"): []}
        for row in rows[table]:
            name = "qxfile" if "qxvault" in row["Teams"] else "rows"
            files.setdefault((row["CreatedAt"][:10], name), []).append(row)
        names = sorted({name for row in make_rows(draw(0))[table] for name in row})
        types = {name: kinds.get(kind := published_tables()[table][name], kind) for name in names}
        for (day, name), of_file in files.items():
            file = directory / table / f"date={day}" / f"{name}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            text = file.with_suffix(".json")
            text.write_text(json.dumps(of_file))
            columns = "* RENAME (InputTokens AS input_tokens)"
            columns = columns if name == "qxfile" and "InputTokens" in names else "*"
            read = f"read_json('{text}', format='array', columns={types})"
            duckdb.execute(f"COPY (SELECT {columns} FROM {read}) TO '{file}' (FORMAT parquet)")  # noqa: S608
            text.unlink()


def damage(directory: Path, chance: Random) -> None:
    """Make each of the last owner's files such that it cannot be read, in one way or another."""
    for file in sorted(directory.rglob("qxfile.parquet")):
        kind = chance.randrange(6)
        if kind < 2:
            file.write_bytes(file.read_bytes()[: -9 * kind] if kind else b"")
        elif kind == 2:
            file.with_name("_delta_log").mkdir()
        elif kind == 3:
            file.with_name("qxlink").symlink_to(directory)
        else:
            columns = ("1 AS qxwhen", "now() AS CreatedAt, [1] AS ModelName, 'x' AS InputTokens")
            duckdb.execute(f"COPY (SELECT {columns[kind - 4]}) TO '{file}' (FORMAT parquet)")


# --- the questions ---

PEOPLE: Final = [owner.subject for owner in OWNERS]
NAMES: Final = {
    "modelName": ["gpt-4o", *(f"qxmodel{o.word}" for o in OWNERS)],
    "virtualModelName": [f"qxroute{o.word}" for o in OWNERS],
    "errorCode": [f"qxfault{o.word}" for o in OWNERS],
    "requestType": ["ChatCompletion", *(f"qxtype{o.word}" for o in OWNERS)],
    "providerModelName": [f"qxmade{o.word}" for o in OWNERS],
    "userEmail": PEOPLE,
    "virtualAccount": PEOPLE,
    "team": ["qxsearch", "qxdata", "qxvault", "qxSearch"],
    "conversationID": [f"qxtalk{o.word}0" for o in OWNERS],
    "metadata.env": ["prod", *(f"qxenv{o.word}" for o in OWNERS)],
    "metadata.qxkeymal": ["qxvaluemal"],
}
USES: Final = {
    "mcpServerName": [f"qxserver{o.word}" for o in OWNERS],
    "toolName": [f"qxtool{o.word}" for o in OWNERS],
    **{name: NAMES[name] for name in ("userEmail", "team", "metadata.env")},
}
GROUPS: Final = (
    *("modelName", "virtualModel", "errorCode", "requestType", "providerModelName", "userEmail"),
    *("virtualaccount", "team", "createdBySubjectType", "metadata.env", "metadata.qxkeymal"),
)
USE_GROUPS: Final = ("mcpServerName", "toolName", "userEmail", "team", "conversationID")
VALUES: Final = (
    *("sum inputTokens", "sum costInUSD", "p95 latencyMs", "avg latencyMs", "min latencyMs"),
    *("countDistinct modelName", "count team", "errorRate", "costPerRequest", "failures"),
    *("max costInUSD", "countDistinct team"),
)
WINDOWS: Final = (
    *("last 7 days", "today", "2026-07", "2026-06", "2026-03-01..2026-07-14", "last 30 days"),
    *("2026-07-10..2026-07-20", "2026-05-17", "2026-01", "now-48h", "2026"),
)
PROMPTS: Final = {
    "error-triage": ("model", NAMES["modelName"]),
    "weekly-cost-report": ("team", NAMES["team"]),
    "why-did-spend-change": ("metadata_key", ["env", "qxkeymal", "qxkeybob"]),
    "latency-investigation": ("model", NAMES["modelName"]),
    "mcp-tool-usage-review": ("server", USES["mcpServerName"]),
}
TEXTUAL: Final = ("EQUAL", "IN", "NOT_IN", "STRING_CONTAINS", "STRING_STARTS_WITH")


def misspell(text: str, chance: Random) -> str:
    """The text, or near it."""
    at = chance.randrange(len(text))
    return chance.choice(
        [
            text,
            text[:at] + text[at + 1 :] or "x",
            text[:at] + "z" + text[at:],
            text.swapcase(),
            text[: max(at, 1)],
            text.replace("qx", "q-x"),
        ]
    )


def _guess(fields: Mapping[str, Sequence[str]], chance: Random) -> dict[str, Any]:
    name = chance.choice([*fields])
    value: Any = misspell(chance.choice(fields[name]), chance)
    operators = ("ARRAY_HAS_ANY", "ARRAY_HAS_NONE") if name == "team" else TEXTUAL
    operator = chance.choice(operators)
    several = operator in ("IN", "NOT_IN") or name == "team"
    return {"fieldName": name, "operator": operator, "value": [value] if several else value}


def _ask(chance: Random) -> Question:
    is_use = chance.random() < 0.2
    fields, groups = (USES, USE_GROUPS) if is_use else (NAMES, GROUPS)
    arguments: dict[str, Any] = {
        "startTs": chance.choice(WINDOWS),
        "groupBy": chance.sample(groups, chance.randrange(3)),
        "filters": [_guess(fields, chance) for _ in range(chance.choice([0, 1, 1, 2]))],
        "format": chance.choice(["table", "table", "exact", "json", "explain"]),
    }
    if is_use:
        arguments["datasource"] = "mcpMetrics"
    else:
        arguments["aggregations"] = chance.sample(VALUES, chance.randrange(3))
        if chance.random() < 0.1:
            arguments["datasource"] = "cacheMetrics"
            arguments["aggregations"] = ["sum costInUSD"]
    if chance.random() < 0.02:
        arguments["format"] = "chart"
    if chance.random() < 0.3:
        interval = chance.choice(["1 day", "1 week", "6 hours"])
        return "query_timeseries", arguments | {"interval": interval}
    if chance.random() < 0.4:
        arguments["compareTo"] = chance.choice(["previous", "1 week", "2026-06"])
    if chance.random() < 0.6:
        arguments["limit"] = 1
    return "query_distribution", arguments


def _list(chance: Random) -> Question:
    name = chance.choice([*GROUPS, "metadata"])
    known = NAMES.get(name, NAMES["modelName"])
    arguments = {"field": name, "startTs": chance.choice(WINDOWS)}
    if chance.random() < 0.6:
        arguments["search"] = misspell(chance.choice(known), chance)
    return "list_values", arguments


def _post(chance: Random) -> Question:
    """A body of the API; those without filters are reckoned in Python besides."""
    start = NOW.replace(hour=0, minute=0) - timedelta(chance.choice([130, 60, 30, 7]))
    return "api", {
        "type": "distribution",
        "datasource": "modelMetrics",
        "startTs": start.isoformat(),
        "endTs": (start + timedelta(chance.choice([20, 60, 140]))).isoformat(),
        "aggregations": [SUM, COUNT],
        "groupBy": chance.sample(GROUPS, chance.choice([0, 0, 1])),
        "filters": [_guess(NAMES, chance)] if chance.random() < 0.5 else [],
    }


def _complete(chance: Random) -> Question:
    prompt = chance.choice([*PROMPTS])
    argument, known = PROMPTS[prompt]
    return "complete", (prompt, argument, misspell(chance.choice(known), chance)[:8])


def _prompt(chance: Random) -> Question:
    prompt = chance.choice([*PROMPTS])
    argument, known = PROMPTS[prompt]
    return "prompt", (prompt, {argument: misspell(chance.choice(known), chance)})


def _fields(chance: Random) -> Question:
    source = chance.choice(["modelMetrics", "mcpMetrics"])
    return "list_fields", {"datasource": source, "startTs": chance.choice(WINDOWS)}


def make_question(chance: Random, links: Sequence[str]) -> Question:
    """Any question; `links` are those of answers to whomever."""
    if links and chance.random() < 0.15:
        return "read", chance.choice(links)
    makers = (_ask, _list, _post, _complete, _prompt, _fields)
    return chance.choices(makers, (10, 4, 4, 1, 1, 1))[0](chance)


# --- the servers ---


@dataclass
class Door:
    """One caller's ways into one server: over MCP, and over the API."""

    client: Client
    api: httpx2.AsyncClient

    async def ask(self, question: Question) -> str:
        """Everything that the answer says."""
        kind, given = question
        if kind == "api":
            answer = await self.api.post(API_PATH, json=given)
            return f"{answer.status_code} {answer.text}"
        try:
            said = await self._ask(kind, given)
        except MCPError as error:
            return str(error)
        return json.dumps(said.model_dump(mode="json", exclude_none=True), ensure_ascii=False)

    async def _ask(self, kind: str, given: Any) -> Any:
        if kind == "read":
            return await self.client.read_resource(given)
        if kind == "prompt":
            return await self.client.get_prompt(*given)
        if kind == "complete":
            prompt, name, value = given
            ref = PromptReference(name=prompt)
            return await self.client.complete(ref, {"name": name, "value": value})
        return await self.client.call_tool(kind, given)


@dataclass
class Site:
    """The servers of one source: MCP by its transports, and the API, for callers with tokens."""

    urls: Mapping[str, str]
    tokens: Mapping[str, str]

    @asynccontextmanager
    async def enter(self, name: str, way: Way = WAYS[0]) -> AsyncIterator[Door]:
        """Connect as a caller."""
        transport, mode = way
        headers = {"authorization": f"Bearer {self.tokens[name]}"}
        given: dict[str, Any] = {"headers": headers, "timeout": 120, "trust_env": False}
        async with (
            httpx2.AsyncClient(**given) as http,
            httpx2.AsyncClient(base_url=self.urls["api"], **given) as api,
        ):
            where = (
                streamable_http_client(f"{self.urls['http']}/mcp", http_client=http)
                if transport == "http"
                else sse_client(f"{self.urls['sse']}/sse", headers)
            )
            async with Client(where, mode=mode, cache=None) as client:
                yield Door(client, api)


@dataclass
class World:
    """All rows, and for each caller a source of the rows that they may see."""

    rows: Rows
    root: Path
    store: Callable[[str, Rows], dict[str, Any]] | None = None
    """Stores rows under a name; the settings that name them. The default writes files."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of all servers, besides those of their source."""
    damages: Random | None = None
    """Damages files of all rows, if it is given."""
    tokens: dict[str, str] = field(default_factory=dict)

    def list_own(self, asker: Asker) -> Rows:
        """The rows that a caller may see."""
        return {table: [row for row in of if asker.may_see(row)] for table, of in self.rows.items()}

    def list_foreign(self, asker: Asker) -> set[str]:
        """The planted words that only others' rows have."""
        rights = (asker.subject, *asker.teams)
        own = {*_find_planted([self.list_own(asker), rights])}
        return {*_find_planted(self.rows), *FILES} - own

    def issue(self) -> None:
        """A token for each caller, in a file."""
        made = {
            one.name: make_token(
                one.subject, one.type, one.teams, is_tenant_admin=one.is_tenant_admin, expires=None
            )
            for one in ASKERS
        }
        self.tokens = {name: token for name, (token, _) in made.items()}
        file = self.root / "tokens.toml"
        file.write_text("\n".join(entry.to_toml() for _, entry in made.values()), "utf-8")
        file.chmod(0o600)

    def write_files(self, name: str, rows: Rows) -> dict[str, Any]:
        """The rows in a directory of their own; the settings that name it."""
        directory = self.root / name / "data"
        write_directory(directory, rows)
        if name == "whole" and self.damages is not None:
            damage(directory, self.damages)
        return {"backend": str(directory)}

    def import_files(self, name: str, rows: Rows) -> dict[str, Any]:
        """The same as `import` lays them out: in a file a day, which all owners' rows are in."""
        directory = self.root / name / "data"
        for table, of_table in rows.items():
            (directory / table).mkdir(parents=True)
            if not of_table:
                continue
            file = self.root / name / f"{table}.jsonl"
            file.write_text("\n".join(map(json.dumps, of_table)), "utf-8")
            with redirect_stdout(io.StringIO()) as said:
                import_rows([str(file), "--into", str(directory), "--table", table])
            assert f"{len(of_table)} rows read" in said.getvalue(), said.getvalue()
            assert " 0 refused" in said.getvalue(), said.getvalue()
        return {"backend": str(directory)}

    @asynccontextmanager
    async def serve(
        self, name: str, rows: Rows, ways: Sequence[Way] = WAYS[:1], **settings: Any
    ) -> AsyncIterator[Site]:
        """Serve the rows by the transports of these ways, and over the API."""
        store = self.store or self.write_files
        source = {"source_name": "the rows", **store(name, rows), **settings, **self.settings}
        urls = dict[str, str]()
        async with AsyncExitStack() as stack:
            for kind in {transport: None for transport, _ in ways} | {"api": None}:
                transport = "http" if kind == "api" else kind
                given = Settings(tokens=self.root / "tokens.toml", transport=transport, **source)
                served = _build_api(given) if kind == "api" else _build_mcp(given)
                port = await stack.enter_async_context(listen_as_served(*served))
                urls[kind] = f"http://127.0.0.1:{port}"
            yield Site(urls, self.tokens)


def _build_api(given: Settings) -> tuple[Any, Any]:
    service = MetricsApi(given, clock=lambda: NOW)
    return build_api_app(service, given), service


def _build_mcp(given: Settings) -> tuple[Any, Any]:
    server = build_server(given, clock=lambda: NOW)
    build = build_sse_app if given.transport == "sse" else build_http_app
    return build(server, given), server


def _find_planted(value: object) -> list[str]:
    return PLANTED.findall(json.dumps(value))


# --- the attack ---


def reckon(question: Question, rows: Sequence[Row]) -> list[int] | None:
    """Calls, tokens and names, where a body of the API asks for nothing else."""
    kind, body = question
    if kind != "api" or body["filters"] or body["groupBy"]:
        return None
    start, end = (datetime.fromisoformat(body[name]) for name in ("startTs", "endTs"))
    inside = [r for r in rows if start <= datetime.fromisoformat(r["CreatedAt"]) < end]
    return [len(inside), sum(row["InputTokens"] or 0 for row in inside), len(inside)]


def read_row(answer: str) -> list[int] | str:
    """The figures of the API's one row."""
    if not answer.startswith("200 "):
        return answer
    (row,) = json.loads(answer.removeprefix("200 "))["data"]["dataPoints"]
    return [value or 0 for value in row.values()]


async def compare(doors: Sequence[Door], question: Question) -> list[str]:
    """The answers through all doors; completions that take too long are empty, so asked again."""
    answers = [await door.ask(question) for door in doors]
    for _ in range(20 if question[0] == "complete" else 0):
        if len({*answers}) == 1:
            break
        answers = [await door.ask(question) for door in doors]
    return answers


def hide(question: Question, mask: EmailMask, chance: Random) -> Question:
    """The question, often with hashes in place of the addresses that it filters by."""
    kind, given = question
    if kind == "api" or not isinstance(given, dict) or chance.random() < 0.4:
        return question
    hidden = [
        part | {"value": json.loads(mask.hide(json.dumps(part["value"])))}
        for part in given.get("filters", ())
    ]
    return kind, given | ({"filters": hidden} if hidden else {})


def find_faults(question: Question, answer: str, alone: str, world: World) -> list[str]:
    """What is wrong with an answer that should be what it is over the caller's rows alone."""
    is_of_api = question[0] == "api"
    faults = []
    is_excused = world.damages and (UNREAD in answer or question[0] in WITHOUT_REASONS)
    if alone != answer and not is_excused:
        faults.append(f"{answer}\nand alone\n{alone}")
    if world.settings.get("hide_emails") and not is_of_api and ADDRESS.search(answer):
        faults.append(f"an address in {answer}")
    return faults


async def attack(world: World, seed: int, number: int, askers: Sequence[Asker]) -> Counter[str]:
    """Ask so many questions, each caller in a way of its own; what was asked and found."""
    chance, links, seen = draw(seed), list[str](), Counter[str]()
    key = world.settings.get("hide_emails_key")
    mask = EmailMask(key.read_bytes().strip()) if key else None
    faults = list[str]()
    async with AsyncExitStack() as stack:
        whole = await stack.enter_async_context(world.serve("whole", world.rows, WAYS))
        foreign = {one: world.list_foreign(one) for one in askers}
        doors: dict[Asker, Sequence[Door]] = {}
        for index, one in enumerate(askers):
            way = WAYS[(seed + index) % len(WAYS)]
            rows = world.list_own(one)
            own = await stack.enter_async_context(world.serve(f"own{index}", rows, [way]))
            doors[one] = [
                await stack.enter_async_context(site.enter(one.name, way)) for site in (whole, own)
            ]
        for index in range(number):
            one = chance.choice(askers)
            question = make_question(chance, links)
            question = question if mask is None else hide(question, mask, chance)
            about = f"seed {seed}, question {index} by {one.name}: {question}"
            answer, alone = await compare(doors[one], question)
            faults += [f"{about}: {it}" for it in find_faults(question, answer, alone, world)]
            told = {*_find_planted(answer)} & foreign[one] - {*_find_planted(question)}
            faults += [f"{about}: {told} in {answer}"] if told else []
            links += LINK.findall(answer)
            seen[question[0]] += 1
            expected = reckon(question, world.list_own(one)[TABLES[0]])
            seen["reckoned"] += expected is not None
            seen["unread"] += UNREAD in answer
            if expected is not None and expected != read_row(answer) and UNREAD not in answer:
                faults.append(f"{about}: {expected}, not {answer}")
            seen["planted"] += bool(_find_planted(answer))
        for url in whole.urls.values():
            async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
                open_to_all = [(await http.get(path)).text for path in ("/metrics", "/readyz")]
            faults += _find_planted(open_to_all)
    assert not faults, "\n\n".join(faults)
    return seen
