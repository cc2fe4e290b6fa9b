"""A password or a token in the backend's address: no command starts, and none repeats it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.credentials import find_embedded_credentials

SECRET: Final = "hush-71c0"  # noqa: S105 - planted
"""Nothing may show it."""
COMMANDS: Final = ((), ("--transport", "http", "--port", "0"), ("api",), ("check",), ("demo",))
REVEALING: Final = (
    f"https://ana:{SECRET}@tenant.example.com",
    f"https://{SECRET}@tenant.example.com",
    f"https://tenant.example.com/?token={SECRET}",
    f"clickhouse://ana:{SECRET}@db.example.com:8123/metrics",
    f"clickhouses://ana@db.example.com/metrics?password={SECRET}",
)


Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_starts_with_a_password_in_the_address(
    run: Run, command: tuple[str, ...]
) -> None:
    code, out, err = run(*command, "--backend", REVEALING[3])

    assert (code, out) == (1, "")
    assert err.startswith("gateway-metrics-mcp: the backend's address contains a password, which ")
    assert err.count("\n") == 1
    assert SECRET not in err


@pytest.mark.parametrize("address", REVEALING)
def test_however_it_is_given_it_is_refused_and_not_repeated(
    run: Run, tmp_path: Path, address: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'backend = "{address}"\n')
    given_by = (
        run("check", GATEWAY_METRICS_BACKEND=address),
        run("check", TFY_HOST=address.removeprefix("https://"), TFY_API_KEY="tok"),
        run("check", "--config", str(file)),
    )

    assert [(code, out) for code, out, _ in given_by] == [(1, "")] * 3
    assert [err for _, _, err in given_by if SECRET in err or "address" not in err] == []


@pytest.mark.parametrize("address", REVEALING)
def test_an_address_in_the_place_of_a_command_is_not_repeated(run: Run, address: str) -> None:
    code, out, err = run(address)

    assert (code, out) == (2, "")
    assert "--backend" in err
    assert SECRET not in err


@pytest.mark.parametrize(
    "address",
    [
        *(
            "demo:",
            "demo:42",
            "/data/a:b@c",
            "./a:b@c",
            "data",
            "s3://bucket/a@b",
            "ftp://x.example",
        ),
        *("https://tenant.example.com", "https://[::1]:8443/prefix", "http://localhost:1"),
        *("clickhouse://ana@db.example.com:8123/metrics", "clickhouse://ana@[::1]/d?secure=true"),
        *("clickhouse://db.example.com:8123/a@b", "clickhouse://[::1]:8123/a@b"),
        *("clickhouses://[::1]/a@b", "", "https://", "clickhouse://h/d?"),
    ],
)
def test_an_address_without_a_secret_is_left_alone(address: str) -> None:
    assert find_embedded_credentials(address) is None


passwords = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=12)


@given(
    scheme=st.sampled_from(
        ["https://", "HTTP://", "clickhouse://", "clickhouses://", "ClickHouse:/", "mysql://", ""]
    ),
    user=st.text("abc.-_é", max_size=5),
    password=passwords,
    rest=st.sampled_from(["", ":8123", "/d", ":8123/d", "/d?secure=true"]),
)
def test_any_password_is_found(scheme: str, user: str, password: str, rest: str) -> None:
    for written in (quote(password, safe=""), password.translate(dict.fromkeys(map(ord, "/?#")))):
        assert (
            find_embedded_credentials(f"{scheme}{user}:{written}@db.example.com{rest}") is not None
        )


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "/", "a/b:c", "1/b@c:d"])
def test_a_password_that_had_to_be_escaped_is_found(password: str) -> None:
    assert (
        find_embedded_credentials(f"clickhouse://ana:{password}@db.example.com:8123/d") is not None
    )
