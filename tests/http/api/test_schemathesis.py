"""What `/openapi.json` allows and forbids, asked of a server on loopback by schemathesis.

The check that every body that fits the schema is accepted is off: a start after an end, a low
above a high and a year before 1970 fit it, and are refused for good reason.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.http.api.conftest import Book, build_api

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

OFF: Final = "positive_data_acceptance"
EXAMPLES: Final = settings().max_examples


@pytest.fixture(scope="module")
def server(directory: Path, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """The address of an API in a thread of its own, and a token for it."""
    book = Book()
    token = book.issue("root", is_tenant_admin=True)
    app = build_api(DuckDBBackend(directory, catalog), book)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", token
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def schema(server: tuple[str, str]) -> Any:
    """The served schema; times are of years that can be asked, and mostly in their order."""
    import schemathesis  # which takes seconds, and nothing else needs it

    years = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))  # noqa: DTZ001 - as it wants them
    schemathesis.openapi.format("date-time", years.map(lambda moment: moment.isoformat() + "Z"))
    config = schemathesis.Config.from_dict({"checks": {OFF: {"enabled": False}}})
    schema = schemathesis.openapi.from_url(f"{server[0]}/openapi.json", config=config)

    @schema.hook
    def map_body(context: object, body: Any) -> Any:
        del context
        if isinstance(body, dict) and {"startTs", "endTs"} <= body.keys():
            times = [body["startTs"], body["endTs"]]
            if all(isinstance(time, str) for time in times):
                first, last = sorted(times)
                return {**body, "startTs": first, "endTs": last}
        return body

    return schema


def ask_many(schema: Any, token: str, mode: str) -> Counter[int]:
    """The statuses of many requests; each answer passes all checks but the one that is off."""
    from schemathesis import GenerationMode

    statuses: Counter[int] = Counter()

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[PATH]["POST"].as_strategy(generation_mode=GenerationMode(mode)))
    def ask(case: Any) -> None:
        headers = {"authorization": f"Bearer {token}"}
        response = case.call(headers=headers)
        statuses[response.status_code] += 1
        case.validate_response(response, headers=headers)

    ask()
    return statuses


def test_the_description_is_valid_openapi(schema: Any) -> None:
    schema.validate()


def test_what_the_schema_allows_is_answered_or_refused_in_its_words(
    schema: Any, server: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = ask_many(schema, server[1], "positive")
    share = statuses[200] / statuses.total()

    tell(capsys, f"allowed: {dict(statuses)}, {share:.0%} answered 200")
    assert set(statuses) == {200, 400}
    assert share >= 0.5


def test_what_the_schema_forbids_is_refused(
    schema: Any, server: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = ask_many(schema, server[1], "negative")

    tell(capsys, f"forbidden: {dict(statuses)}; with 200 or 401 a header was wrong")
    assert set(statuses) <= {200, 400, 401, 415}
    assert statuses[400] / statuses.total() >= 0.3


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Into the log, whether the test is good or not."""
    with capsys.disabled():
        sys.stdout.write(f"\nschemathesis {version('schemathesis')}, {text}\n")


@pytest.mark.thorough
@pytest.mark.parametrize("phase", ["coverage", "fuzzing"])
def test_the_whole_of_schemathesis_finds_nothing(server: tuple[str, str], phase: str) -> None:
    url, token = server
    program = Path(sys.executable).with_name("schemathesis")
    flags = ["--phases", phase, "--exclude-checks", OFF, "--generation-deterministic"]
    flags += ["--max-time", "240", "-H", f"Authorization: Bearer {token}", "--no-color"]
    done = subprocess.run(  # noqa: S603 - a tool of ours
        [program, "run", f"{url}/openapi.json", *flags],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout
