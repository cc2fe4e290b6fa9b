"""A line per tool call on stderr, for people or for programs; no values and no tokens."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests import forked

from gateway_metrics_mcp.runtime.logs import JsonFormatter, TextFormatter, announce

Serve = Callable[..., AbstractAsyncContextManager[Any]]

WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
PLANTED: Final = ("planted@example.com", "planted-group", "planted-tool")
QUESTION: Final = {
    **WEEK,
    "groupBy": ["modelName"],
    "filters": [{"fieldName": "userEmail", "operator": "IN", "value": [PLANTED[0]]}],
}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """What the log of calls has, as programs read it."""
    caplog.set_level(logging.INFO, "gateway_metrics_mcp.calls")
    formatter = JsonFormatter()
    # Formatted while the call is under way, as the handler of the process does.
    kept: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(json.loads(formatter.format(record)))

    handler = Keep()
    logging.getLogger("gateway_metrics_mcp.calls").addHandler(handler)

    def read() -> list[dict[str, Any]]:
        logging.getLogger("gateway_metrics_mcp.calls").removeHandler(handler)
        return kept

    return read


async def test_each_call_is_a_line_with_its_outcome_and_without_its_values(
    open_server: Serve, directory: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    async with open_server(backend=str(directory)) as server, server.connect() as client:
        answer = await client.call_tool("query_distribution", {**WEEK, "groupBy": ["modelName"]})
        await client.call_tool("query_distribution", QUESTION)
        await client.call_tool("query_distribution", {**WEEK, "groupBy": [PLANTED[1]]})
        await client.call_tool("list_values", {**WEEK, "field": "modelName"})
        await client.call_tool("list_fields", {"datasource": "mcpMetrics"})
        await client.call_tool(PLANTED[2], {})

    written = lines()
    shown = [
        (line["tool"], line.get("datasource"), line["code"], line.get("rows")) for line in written
    ]
    assert shown == [
        ("query_distribution", "modelMetrics", "ok", 2),
        ("query_distribution", "modelMetrics", "ok", 0),
        ("query_distribution", None, "invalid_query", None),
        ("list_values", "modelMetrics", "ok", 2),
        ("list_fields", "mcpMetrics", "ok", None),
        ("unknown", None, "unknown_tool", None),
    ]
    assert written[0]["bytes"] == len(answer.content[0].text.encode())
    assert written[0]["duration_ms"] > 0
    assert len({line["request_id"] for line in written}) == len(written)
    assert [text for text in PLANTED if text in json.dumps(written)] == []


async def test_a_call_that_was_given_up_is_a_line_too(
    open_server: Serve, gateway: Any, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    gateway.gate = anyio.Event()
    async with (
        open_server(backend=gateway.url, all_row=False) as server,
        server.connect("legacy") as client,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "query_distribution", WEEK)
            await gateway.is_asked.wait()
            group.cancel_scope.cancel()
        await client.call_tool("list_fields", {})

    assert sorted((line["tool"], line["code"]) for line in lines()) == [
        ("list_fields", "ok"),
        ("query_distribution", "cancelled"),
    ]


def _run(directory: Path, environment: dict[str, str], *flags: str) -> list[str]:
    """The lines on stderr of a server on stdio that was asked one question."""
    messages: list[dict[str, Any]] = [
        {
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {
            "id": 1,
            "method": "tools/call",
            "params": {"name": "query_distribution", "arguments": QUESTION},
        },
    ]
    command = [*forked.command(), "--backend", str(directory), *flags]
    with subprocess.Popen(  # noqa: S603 - our own module
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in messages:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        _, errors = process.communicate(timeout=120)
    assert not answers[1]["result"]["isError"]
    return errors.splitlines()


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_in_json_every_line_parses(
    directory: Path, environment: dict[str, str], level: str
) -> None:
    written = _run(directory, environment, "--log-format", "json", "--log-level", level)
    lines = [json.loads(line) for line in written]

    (call,) = [line for line in lines if line["logger"] == "gateway_metrics_mcp.calls"]
    assert list(call) == [
        "time",
        "level",
        "logger",
        "message",
        "request_id",
        "tool",
        "datasource",
        "code",
        "duration_ms",
        "rows",
        "bytes",
    ]
    if level == "INFO":
        assert lines == [call]


def test_in_text_a_call_is_one_line_for_people(
    directory: Path, environment: dict[str, str]
) -> None:
    (line,) = _run(directory, environment, "--log-level", "INFO")

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO gateway_metrics_mcp\.calls: tool call"
        r" request_id=[0-9a-f]{16} tool=query_distribution datasource=modelMetrics code=ok"
        r" duration_ms=[0-9.]+ rows=0 bytes=\d+",
        line,
    )


def test_it_is_quiet_unless_asked(directory: Path, environment: dict[str, str]) -> None:
    assert _run(directory, environment) == []


@pytest.mark.parametrize("text", ["a\nERROR forged", "a\r\nb", '{"level": "forged"}', "\x1b[2Jé"])
def test_a_message_cannot_forge_a_line(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%s", (text,), None)

    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
    assert json.loads(JsonFormatter().format(record))["message"] == text


@pytest.mark.parametrize(
    "mark",
    ["\u202e", "\u2066", "\u200b", "\ufeff", "\x7f", "\x85", "\u2028", "\u3164", "\U000e0041"],
)
def test_no_mark_that_hides_or_reorders_text_is_written(
    mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise ValueError(f"in {mark}")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, __file__, 1, "of %s", (f"Zoë {mark}",), sys.exc_info()
        )
    vars(record)["fields"] = {"field": mark}
    lines = [TextFormatter().format(record), JsonFormatter().format(record)]
    announce(f"the file {mark} cannot be read")

    assert [line for line in (*lines, capsys.readouterr().err) if mark in line] == []
    assert "Zoë \\u" in lines[0]


def test_a_traceback_cannot_forge_a_line() -> None:
    """Not even where another handler has formatted it before, or with the stack of the call."""
    try:
        raise ValueError("a\n2026-07-15 09:30:00,000 ERROR x: forged\r\u202e\x1b[2J")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info(), sinfo="Stack\n\u202e"
        )
    logging.Formatter().format(record)

    said = [TextFormatter().format(record), JsonFormatter().format(record)]
    first, *rest = said[0].split("\n")
    assert first.endswith(" ERROR x: failed")
    assert any("forged" in line for line in rest)
    assert [line for line in rest if not line.startswith("  ")] == []
    assert len(said[1].splitlines()) == 1
    assert [text for text in said if re.search("[\r\x1b\u202e]", text)] == []


async def test_what_an_engine_says_of_files_reaches_the_log_without_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], open_server: Serve
) -> None:
    """DuckDB's own words have the names of files and values of rows."""
    mark = "\u202e\x1bc\u200b"
    folder = tmp_path / "gateway_model_metrics" / f"of={mark}"
    folder.mkdir(parents=True)
    (folder / f"a{mark}\nERROR forged.parquet").write_bytes(b"PAR1" + b"x" * 20 + b"PAR1")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    logging.getLogger().addHandler(handler)
    try:
        async with open_server(backend=str(tmp_path)) as server, server.connect() as client:
            answer = await client.call_tool("query_distribution", WEEK)
    finally:
        logging.getLogger().removeHandler(handler)

    written = capsys.readouterr().err
    assert answer.is_error
    assert "DuckDB on gateway_model_metrics" in written
    assert "forged.parquet" in written
    assert re.search("[\u202e\x1b\u200b]", written + answer.content[0].text) is None
    assert [line for line in written.splitlines() if line.startswith("ERROR")] == []


def test_a_traceback_is_one_string_in_json() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info()
        )

    line = json.loads(JsonFormatter().format(record))

    assert line["message"] == "failed"
    assert line["exception"].endswith("ValueError: boom")


def test_what_is_said_at_the_start_is_json_too(environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own module
        [*forked.command(), "--log-format", "json", "--transport", "http", "--host", "192.0.2.1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (done.returncode, line["logger"]) == (1, "gateway_metrics_mcp")
    assert line["message"].startswith("listening on 192.0.2.1 needs ")


async def test_over_http_a_call_is_one_line_and_none_of_a_request_or_a_probe(
    gateway: Any, environment: dict[str, str]
) -> None:
    flags = ("--transport", "http", "--port", "0", "--log-format", "json", "--log-level", "INFO")
    command = [*forked.command(), *flags, "--backend", gateway.url]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, env=environment) as process:
            assert process.stderr is not None
            stderr = BufferedByteReceiveStream(process.stderr)
            first = json.loads(await stderr.receive_until(b"\n", 10_000))
            url = first["message"].split()[-1]
            headers = {"X-TFY-API-Key": "tok-1"}
            async with (
                httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as bare,
                Client(streamable_http_client(url, http_client=bare), mode="legacy") as client,
            ):
                await bare.get(url.replace("/mcp", "/readyz"))
                await client.call_tool("query_distribution", WEEK)
            process.terminate()
            rest = b"".join([part async for part in stderr])

    lines = [json.loads(line) for line in rest.splitlines()]
    # A probe that a busy machine keeps from its answer is told of as the server not being ready.
    others = ("uvicorn.error", "gateway_metrics_mcp.runtime.readiness")
    assert [x["logger"] for x in lines if x["logger"] not in others] == [
        "gateway_metrics_mcp.calls"
    ]
