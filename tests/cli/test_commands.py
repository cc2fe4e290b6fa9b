"""The command line: what it prints, what it checks, and what it says is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.query.time.zone_rules import describe_rules
from gateway_metrics_mcp.settings import flag_names

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: nothing may show it


Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--version"], (0, f"{__version__}\n", "")),
        (["--budget", "5", "check"], (1, "", "gateway-metrics-mcp: budget: ")),
    ],
)
def test_a_process_of_its_own_says_and_ends_alike(
    run: Run, environment: dict[str, str], arguments: list[str], expected: tuple[int, str, str]
) -> None:
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "gateway_metrics_mcp", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    code, out, err = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)
    assert (code, out, err[: len(expected[2])]) == expected


def test_the_help_names_every_setting_but_the_token(run: Run) -> None:
    code, out, err = run("--help", TFY_API_KEY=TOKEN)

    assert (code, err) == (0, "")
    flags = {f"--{name.replace('_', '-')}" for name in flag_names()}
    assert {flag for flag in flags if f"{flag} " in out} == flags
    assert "--token " not in out
    assert TOKEN not in out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (
            ("--bakend", "x"),
            2,
            "mcp: unknown argument --bakend. Did you mean --backend? See ",
        ),
        (("--transport", "carrier-pigeon"), 2, "argument --transport: invalid choice: "),
        (
            ("serv",),
            2,
            "mcp: unknown command serv. Did you mean serve? Allowed: serve, api, check, ",
        ),
        (
            ("check", "demo"),
            2,
            "mcp: word 2 after gateway-metrics-mcp belongs to no flag",
        ),
        (("--budget",), 2, "argument --budget: expected one argument. See "),
        (("--budget", "many"), 1, "gateway-metrics-mcp: budget: "),
        (("--budget", "5"), 1, "gateway-metrics-mcp: budget: "),
        (("--all-row", "perhaps"), 1, "gateway-metrics-mcp: all_row: "),
        (("--config", "/nowhere.toml"), 1, "gateway-metrics-mcp: the file /nowhere.toml cannot "),
        (("--token-file", "/nowhere"), 1, "gateway-metrics-mcp: the token file /nowhere cannot "),
        (
            ("--transport", "http", "--host", "0.0.0.0"),  # noqa: S104 - refused
            1,
            "gateway-metrics-mcp: listening on 0.0.0.0 needs --allowed-host with the name",
        ),
        (
            ("--transport", "sse", "--host", "192.0.2.1", "--allowed-host", "example.com"),
            1,
            "gateway-metrics-mcp: cannot listen on 192.0.2.1 port 8000: ",
        ),
    ],
    ids=repr,
)
def test_a_wrong_command_line_is_explained(
    run: Run, arguments: Sequence[str], code: int, error: str
) -> None:
    result, out, err = run(*arguments)

    assert (result, out) == (code, "")
    assert error in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("import", "--into", "data", "calls.csv"),
        ("install", "--client", "print"),
        ("token", "--subject", "ada@example.com"),
        ("ask", "distribution"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(
    "words", [("--tokn", TOKEN), (f"--tokn={TOKEN}",)], ids=["apart", "joined"]
)
def test_an_unknown_argument_is_named_without_its_value(
    run: Run, command: Sequence[str], words: Sequence[str]
) -> None:
    code, out, err = run(*command, *words)

    assert (code, out) == (2, "")
    assert "unknown argument --tokn" in err
    assert TOKEN not in err


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (
            {"GATEWAY_METRICS_BUDGT": "5000"},
            "unknown variable GATEWAY_METRICS_BUDGT. Did you mean GATEWAY_METRICS_BUDGET",
        ),
        ({"GATEWAY_METRICS_TOKEN": TOKEN}, "unknown variable GATEWAY_METRICS_TOKEN. "),
        ({"GATEWAY_METRICS_LOG_LEVEL": "LOUD"}, "log_level: "),
    ],
)
def test_a_wrong_variable_is_explained(run: Run, variables: dict[str, str], error: str) -> None:
    code, out, err = run(**variables)

    assert (code, out) == (1, "")
    assert err.startswith(f"gateway-metrics-mcp: {error}")
    assert TOKEN not in err


def test_check_says_what_works(run: Run, directory: Path) -> None:
    code, out, err = run("check", "--backend", str(directory))
    absent = "0 rows in the last 24 hours (the data directory has no table {}: no data of this"
    absent += " datasource was loaded)"
    mcp, guardrail, config, agent = (
        absent.format(f"gateway_{kind}_metrics")
        for kind in ("mcp", "guardrail", "config", "request")
    )

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"ok    backend: DuckDB over Parquet in {directory}",
        "ok    modelMetrics: 0 rows in the last 24 hours",
        f"ok    mcpMetrics: {mcp}",
        f"ok    guardrailMetrics: {guardrail}",
        "ok    cacheMetrics: 0 rows in the last 24 hours",
        f"ok    configMetrics: {config}",
        f"ok    agentMetrics: {agent}",
        f"ok    time zones: {describe_rules()}",
        "ok    checksums: none for 1 file that import did not write",
    ]


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        ({}, "FAIL  backend: no backend is set. Set TFY_HOST, or --backend or GATEWAY_METRICS_"),
        ({"GATEWAY_METRICS_BACKEND": "/nowhere"}, "FAIL  backend: the data directory /nowhere"),
        ({"TFY_HOST": "https://127.0.0.1:1"}, "FAIL  gateway: no connection to the gateway"),
    ],
)
def test_check_says_what_does_not_work(run: Run, backend: dict[str, str], line: str) -> None:
    code, out, err = run("check", TFY_API_KEY=TOKEN, **backend)

    assert (code, err) == (1, "")
    assert len([found for found in out.splitlines() if found.startswith(line)]) == 1
    assert out.count("FAIL") == 1
    assert TOKEN not in out
