"""The backend over ClickHouse's HTTP interface: its login, limits, cancellation and failures."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.errors import translate
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    GatewayMetricsError,
    QueryTooLargeError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
    WrongHostError,
)
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.result import Result

Open = Callable[..., ClickHouseBackend]
Fill = Callable[..., None]
Make = Callable[..., Query]

TABLE: Final = "gateway_model_metrics"
NOON: Final = "2026-07-10T12:00:00+00:00"


@pytest.fixture(scope="module")
def module(load_beside: Callable[[str], ModuleType]) -> ModuleType:
    return load_beside("clickhouse_http")


@pytest.fixture
def site(module: ModuleType, server: object) -> Iterator[Any]:
    """The server; it has the tables of the one in this process."""
    del server
    with module.serve() as site:
        yield site


@pytest.fixture
async def connect(
    site: Any, module: ModuleType, catalog: Catalog, proxyless: None
) -> AsyncIterator[Open]:
    """Open backends at the server; all are closed in the end."""
    del proxyless
    opened: list[ClickHouseBackend] = []

    def build(
        *,
        user: str = module.USER,
        port: int | None = None,
        query: str = "",
        **options: Any,
    ) -> ClickHouseBackend:
        url = f"clickhouse://{user}@127.0.0.1:{port or site.port}/metrics{query}"
        opened.append(ClickHouseBackend(url, catalog, password=module.PASSWORD, **options))
        return opened[-1]

    yield build
    for backend in opened:
        await backend.aclose()


async def wait(event: Any) -> None:
    with anyio.fail_after(60):
        await anyio.to_thread.run_sync(event.wait, abandon_on_cancel=True)


async def test_it_answers_over_http_as_in_process(
    connect: Open,
    fill: Fill,
    evaluate: Callable[..., Result],
    make_example: Callable[[bytes], Any],
    assert_same: Callable[..., None],
    catalog: Catalog,
) -> None:
    backend = connect()
    chance = Random(11)  # noqa: S311 - no secret
    for _ in range(40):
        example = make_example(chance.randbytes(24))
        fill(example.table, example.columns, example.rows)
        expected = evaluate(example.query, example.caller, example.rows, catalog)
        got = await backend.query(example.query, example.caller)
        assert_same(got, expected, example.tolerance)


async def test_a_question_is_one_read_only_statement_with_limits_and_bound_values(
    site: Any, connect: Open, make_query: Make
) -> None:
    backend = connect(timeout_s=7.5, memory_limit="1.5 GiB", row_cap=50)
    name = "Robert'); DROP TABLE gateway_model_metrics; --"

    await backend.query(make_query(filters=[("modelName", "EQUAL", name)]), LOCAL)

    (asked,) = site.questions
    assert asked.text.replace(" FORMAT Native", "").strip() == (
        'SELECT count(*) FROM "metrics"."gateway_model_metrics" WHERE "CreatedAt" >='
        " fromUnixTimestamp64Micro({p0:Int64}, 'UTC') AND \"CreatedAt\" <"
        " fromUnixTimestamp64Micro({p1:Int64}, 'UTC') AND \"ModelName\" = {p2:String}"
        " ORDER BY 1 DESC LIMIT 51"
    )
    assert asked.parameters == {
        "p0": "1782864000000000",
        "p1": "1785542400000000",
        "p2": name.replace("'", "\\'"),
    }
    usual = ("date_time_input_format", "cast_string_to_dynamic_use_inference")
    assert {k: v for k, v in asked.settings.items() if k not in usual} == {
        "max_execution_time": "7.5",
        "max_memory_usage": "1610612736",
        "max_result_rows": "51",
        "readonly": "1",
    }


GUARDS: Final = {
    "short_circuit_function_evaluation": "force_enable",
    "optimize_functions_to_subcolumns": "0",
}
INDEXES: Final = 'ORDER BY ("ModelName", "CreatedAt") SETTINGS allow_nullable_key = 1'
SKIPPING: Final = (
    'INDEX models "ModelName" TYPE bloom_filter',
    'INDEX providers "ProviderAccountType" TYPE text(tokenizer = splitByNonAlpha)',
    'INDEX tokens "InputTokens" TYPE minmax',
    'INDEX keys mapKeys("Metadata") TYPE bloom_filter',
)
GUESSES: Final = [
    ("modelName", "EQUAL", "model-1"),
    ("providerAccountType", "EQUAL", "provider-1"),
    ("inputTokens", "GREATER_THAN", 5),
    ("metadata.project", "EQUAL", "secret"),
]


async def test_no_index_is_asked_for_what_a_caller_with_some_rights_filters(
    site: Any, connect: Open, server: Any, make_query: Make, at: Callable[[str], Any]
) -> None:
    server.command("CREATE DATABASE indexed")
    server.command(f"CREATE TABLE indexed.{TABLE} AS metrics.{TABLE} ENGINE = MergeTree {INDEXES}")
    for index in SKIPPING:
        server.command(f"ALTER TABLE indexed.{TABLE} ADD {index}")
    row = {"CreatedAt": at(NOON), "ModelName": "model-2", "InputTokens": 1}
    server.insert(f"indexed.{TABLE}", [list(row.values())], list(row))
    query = make_query(groupBy=["modelName"], filters=GUESSES)

    async def explain(caller: Caller) -> tuple[str, dict[str, str]]:
        await connect().query(query, caller)
        asked = site.questions[-1]
        text = asked.text.replace('"metrics".', '"indexed".').replace(" FORMAT Native", "")
        settings = {k: v for k, v in asked.settings.items() if k in GUARDS}
        lines = server.query(f"EXPLAIN indexes = 1 {text}", asked.parameters, settings).result_rows
        plan = "\n".join(line for (line,) in lines)
        return plan.partition("Indexes:")[2], settings

    try:
        whole, free = await explain(LOCAL)
        guarded, settings = await explain(Caller("ada@example.com", teams=frozenset({"search"})))
    finally:
        server.command("DROP DATABASE indexed")

    assert settings == GUARDS
    assert free == {}
    used = ("ModelName", "models", "providers", "tokens")
    assert [name for name in used if name in whole] == list(used)
    assert [name for name in (*used, "keys") if name in guarded] == []
    assert "CreatedAt" in guarded


async def test_a_user_who_may_not_read_the_tables_engines_is_answered(
    site: Any, connect: Open, fill: Fill, make_query: Make, at: Callable[[str], Any]
) -> None:
    fill(TABLE, ["CreatedAt"], [{"CreatedAt": at(NOON)}])
    site.hidden = "system.tables"

    result = await connect().query(make_query(), LOCAL)

    assert result.column("total") == (1,)
    assert result.notes == ()  # `final` is set nevertheless
    assert site.questions[-1].settings["final"] == "1"


async def test_shards_that_know_no_final_are_asked_without_it(
    site: Any, connect: Open, fill: Fill, make_query: Make, at: Callable[[str], Any]
) -> None:
    fill(TABLE, ["CreatedAt"], [{"CreatedAt": at(NOON)}])
    site.hidden, site.has_final = "system.tables", False  # as those of 24.3 behind Distributed
    backend = connect()

    for _ in "ab":
        assert (await backend.query(make_query(), LOCAL)).column("total") == (1,)

    tried = [asked.settings.get("final") for asked in site.questions]
    assert tried == ["1", None, None]


async def test_many_questions_at_once_get_each_its_own_answer(
    site: Any, connect: Open, fill: Fill, make_query: Make, at: Callable[[str], Any]
) -> None:
    rows = [{"CreatedAt": at(NOON), "ModelName": str(n)} for n in range(12) for _ in range(n + 1)]
    fill(TABLE, ["CreatedAt", "ModelName"], rows)
    backend = connect()
    totals: dict[int, Any] = {}

    async def ask(number: int) -> None:
        query = make_query(filters=[("modelName", "EQUAL", str(number))])
        totals[number] = (await backend.query(query, LOCAL)).column("total")

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(ask, number)

    assert totals == {number: (number + 1,) for number in range(12)}
    assert len({asked.query_id for asked in site.questions}) == 12


async def test_a_cancelled_question_is_killed_by_its_id(
    site: Any, connect: Open, make_query: Make, caplog: pytest.LogCaptureFixture
) -> None:
    backend = connect()
    site.is_held = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.query, make_query(), LOCAL)
        await wait(site.holding)
        tasks.cancel_scope.cancel()

    await wait(site.ended)
    (asked,) = site.questions
    kills = [asked for asked in site.asked if asked.text.startswith("KILL")]
    assert kills
    for kill in kills:
        assert kill.text == "KILL QUERY WHERE query_id = {id:String} AND user = currentUser() ASYNC"
        assert kill.parameters == {"id": asked.query_id}
    assert not caplog.records  # that was not requested the end that the server reports
    site.is_held = False
    assert len((await backend.query(make_query(), LOCAL)).points) == 1


async def test_a_question_that_takes_too_long_is_given_up_and_killed(
    site: Any, connect: Open, make_query: Make
) -> None:
    backend = connect(timeout_s=0.5)
    site.is_held = True

    while not site.holding.is_set():  # a busy machine may need the time of one to connect
        with pytest.raises(BackendTimeoutError, match=r"no answer within 0\.5 s"):
            await backend.query(make_query(), LOCAL)

    await wait(site.ended)


async def test_a_kill_that_comes_before_the_query_is_repeated(
    site: Any, connect: Open, make_query: Make
) -> None:
    backend = connect()
    site.is_held, site.deaf_to = True, 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.query, make_query(), LOCAL)
        await wait(site.holding)
        tasks.cancel_scope.cancel()

    await wait(site.ended)


async def test_as_many_questions_as_it_says_run_at_once(
    site: Any, connect: Open, make_query: Make
) -> None:
    backend = connect()
    site.is_held, site.least_held = True, backend.most_queries
    async with anyio.create_task_group() as tasks:
        for _ in range(backend.most_queries):
            tasks.start_soon(backend.query, make_query(), LOCAL)
        await wait(site.holding)
        tasks.cancel_scope.cancel()

    assert site.held == backend.most_queries


# --- TLS ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of this machine and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clickhouse.internal")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "clickhouse.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    return path


@pytest.fixture
def tls_site(module: ModuleType, server: object, certificate: Path) -> Iterator[Any]:
    del server
    with module.serve(certificate) as site:
        yield site


async def test_over_tls_it_answers_and_is_killed_alike(
    tls_site: Any,
    connect: Open,
    make_query: Make,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    backend = connect(port=tls_site.port, query="?secure=true")
    assert len((await backend.query(make_query(), LOCAL)).points) == 1

    tls_site.is_held = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.query, make_query(), LOCAL)
        await wait(tls_site.holding)
        tasks.cancel_scope.cancel()

    await wait(tls_site.ended)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls_site: Any, connect: Open, failure: Callable[..., Any]
) -> None:
    backend = connect(port=tls_site.port, query="?secure=true")

    assert type(await failure(backend)) is TlsError
    assert tls_site.asked == []


# --- failures ---


@pytest.fixture
def failure(
    module: ModuleType, make_query: Make, caplog: pytest.LogCaptureFixture
) -> Callable[..., Any]:
    """Ask what has to fail: the error, which shows the password nowhere; nor does any log."""
    caplog.set_level(logging.DEBUG)

    async def ask(backend: ClickHouseBackend, caller: Caller = LOCAL) -> GatewayMetricsError:
        with pytest.raises(GatewayMetricsError) as caught:
            await backend.query(make_query(), caller)
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown = [str(caught.value), repr(backend), backend.description, caplog.text]
        for text in (*shown, *trace.format()):
            assert module.PASSWORD not in text
            assert module.LOGIN not in text
        return caught.value

    return ask


async def test_a_wrong_login_is_the_operators_to_mend(
    connect: Open, failure: Callable[..., Any]
) -> None:
    error = await failure(connect(user="stranger"))

    assert type(error) is UnauthorizedError
    assert str(error) == "ClickHouse does not accept the user or the password"


async def test_the_log_has_known_names_and_nothing_else_of_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = (
        "Received ClickHouse exception, code: 47, server response: Code: 47. DB::Exception: Unknown"
        " identifier `CostInUSD` in scope SELECT sum(CostInUSD) FROM t WHERE UserEmail ="
        " 'ada@example.com' SETTINGS max_rows_to_read = 5. Stack trace: 0. /srv/x"
        " (for url http://u:planted@10.1.2.3:8123/?user=max_mustermann)"
    )
    translate(DatabaseError(text, code=47), "gateway_model_metrics")
    (record,) = caplog.records
    said = record.getMessage()

    assert said.startswith("ClickHouse on gateway_model_metrics: DatabaseError, code 47")
    assert {"CostInUSD", "max_rows_to_read"} <= set(re.findall(r"\w+", said))
    kept = ("ada", "10.1", "planted", "mustermann", "SELECT", "/srv")
    assert [word for word in kept if word in said] == []


async def test_where_nobody_listens_there_is_no_connection(
    connect: Open, failure: Callable[..., Any], unused_port: int
) -> None:
    error = await failure(connect(port=unused_port))

    assert type(error) is UnreachableError
    assert "127.0.0.1" not in str(error)


async def test_a_port_without_tls_is_told_from_one_with(
    connect: Open, failure: Callable[..., Any]
) -> None:
    assert type(await failure(connect(query="?secure=true"))) is TlsError


async def test_another_kind_of_server_is_recognised(
    connect: Open, failure: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    async def page(_: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>")
        await writer.drain()

    other = await serve(page)

    assert type(await failure(connect(port=other.port))) is WrongHostError


async def test_a_server_that_hangs_up_is_no_connection_and_may_be_asked_again(
    site: Any, connect: Open, failure: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.close()

    other = await serve(hang_up)
    backend = connect(port=other.port)

    assert type(await failure(backend)) is UnreachableError
    assert type(await failure(backend)) is UnreachableError
    assert site.asked == []


async def test_too_little_memory_is_said_with_the_way_out(
    connect: Open, failure: Callable[..., Any]
) -> None:
    error = await failure(connect(memory_limit="1KB"))

    assert type(error) is QueryTooLargeError
    assert "raise the memory limit" in str(error)


async def test_a_closed_backend_opens_anew(connect: Open, make_query: Make) -> None:
    backend = connect()
    first = await backend.query(make_query(), LOCAL)
    await backend.aclose()

    assert await backend.query(make_query(), LOCAL) == first


async def test_a_connection_that_hangs_holds_up_nobody_as_the_backend_closes(
    catalog: Catalog, failure: Callable[..., Any]
) -> None:
    begun, enough = threading.Event(), threading.Event()
    is_in_time: list[bool] = []

    def hang() -> Client:
        begun.set()
        is_in_time.append(enough.wait(20))
        raise OperationalError

    backend = ClickHouseBackend("clickhouse://u@127.0.0.1:1/d", catalog, connect=hang)
    async with anyio.create_task_group() as group:
        group.start_soon(failure, backend)
        await anyio.to_thread.run_sync(begun.wait)
        group.start_soon(backend.aclose)
        await anyio.wait_all_tasks_blocked()
        enough.set()

    assert is_in_time == [True]
