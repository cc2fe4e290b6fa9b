"""The set-up: flags before the environment before the file, and nothing misspelt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.auth.oauth import read_subjects
from gateway_metrics_mcp.auth.tokens import read_tokens
from gateway_metrics_mcp.cli.ingest.prices import read_prices
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.masking import read_hiding_key
from gateway_metrics_mcp.settings import Settings, flag_names, read_settings

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: no error may show it


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with settings, and a backend of its own."""
    file = tmp_path / "settings.toml"
    file.write_text('backend = "/from/file"\nbudget = 1000\nthreads = 3\ntimezone = "Asia/Tokyo"\n')
    return file


def test_without_anything_there_is_no_backend_and_no_token() -> None:
    assert read_settings({}, {}) == Settings()
    assert (Settings().backend, Settings().token) == (None, None)


def test_a_flag_goes_before_a_variable_and_that_before_the_file(file: Path) -> None:
    environ = {"GATEWAY_METRICS_BUDGET": "2000", "GATEWAY_METRICS_THREADS": "4", "HOME": "/"}
    flags = {"budget": "3000", "config": str(file), "timezone": None}

    assert read_settings(flags, environ) == Settings(
        backend="/from/file", budget=3000, threads=4, timezone="Asia/Tokyo"
    )


def test_the_file_can_be_named_by_a_variable_and_a_flag_goes_before_it(
    file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text('allowed_host = ["a.example.com", "b.example.com"]\nall_row = false\n')
    environ = {"GATEWAY_METRICS_CONFIG": str(file)}

    assert read_settings({}, environ).threads == 3
    assert read_settings({"config": str(other)}, environ) == Settings(
        allowed_host=("a.example.com", "b.example.com"), all_row=False
    )


def test_an_empty_variable_is_none() -> None:
    empty = dict.fromkeys(("GATEWAY_METRICS_BACKEND", "TFY_HOST", "TFY_API_KEY"), "")

    assert read_settings({}, empty) == Settings()


@pytest.mark.parametrize("text", ["${env:TFY_API_KEY}", "${user_config.token}", "${TOKEN}"])
def test_a_reference_that_a_client_left_unfilled_is_none(text: str) -> None:
    names = ("TFY_HOST", "TFY_API_KEY", "GATEWAY_METRICS_BUDGET", "GATEWAY_METRICS_CONFIG")

    assert read_settings({}, dict.fromkeys(names, text)) == Settings()


@pytest.mark.parametrize("name", flag_names())
def test_every_setting_is_a_variable(name: str) -> None:
    values: dict[str, str] = {
        "backend": "demo:",
        "source_name": "prod",
        "token_file": __file__,
        "catalog": "/own.json",
        "prompts": "/own",
        "unknown_fields": "pass",
        "timezone": "Europe/Berlin",
        "budget": "501",
        "hide_emails": "true",
        "hide_emails_key": "/hidden.key",
        "all_row": "false",
        "ui": "true",
        "calls": "4",
        "timeout": "1.5",
        "max_response_bytes": "1001",
        "row_cap": "7",
        "memory": "512MB",
        "threads": "1",
        "transport": "sse",
        "host": "::1",
        "port": "1",
        "allowed_host": "a.example.com, b.example.com",
        "tokens": "/tokens.toml",
        "accept_gateway_bearer": "true",
        "shared_token": "true",
        "auth_token_file": "/callers.toml",
        "oauth_issuer": "https://idp.example.com",
        "oauth_audience": "https://metrics.example.com/mcp",
        "oauth_scope": "metrics:read, openid",
        "oauth_subjects": "/subjects.toml",
        "connections": "10",
        "queries": "3",
        "patience": "0.5",
        "retries": "0",
        "upstream_calls": "5",
        "caller_calls": "2",
        "cache_bytes": "0",
        "cache_age_open": "0",
        "cache_age_closed": "7200",
        "cache_closed_after": "60",
        "drain": "2",
        "allowed_origin": "https://a.example.com, https://b.example.com",
        "cors_origin": "https://a.example.com",
        "front": "false",
        "metrics": "false",
        "log_level": "INFO",
        "log_format": "json",
    }
    read = read_settings({}, {f"GATEWAY_METRICS_{name.upper()}": values[name]})

    assert getattr(read, name) != getattr(Settings(), name)
    assert read.model_copy(update={name: None, "token": None}) == Settings().model_copy(
        update={name: None}
    )


def test_the_gateway_in_tfy_host_is_the_backend_unless_another_is_set() -> None:
    environ = {"TFY_HOST": "https://tenant.example.com", "TFY_API_KEY": f" {TOKEN}\n"}
    read = read_settings({}, environ)

    assert (read.backend, read.token and read.token.get_secret_value()) == (
        "https://tenant.example.com",
        TOKEN,
    )
    assert read_settings({"backend": "demo:"}, environ).backend == "demo:"
    assert read_settings({}, {**environ, "GATEWAY_METRICS_BACKEND": "/d"}).backend == "/d"


def test_a_gateway_in_tfy_host_needs_no_scheme() -> None:
    assert read_settings({}, {"TFY_HOST": "tenant.example.com"}).backend == (
        "https://tenant.example.com"
    )


def test_the_token_file_goes_before_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    for flags, environ in (
        ({"token_file": str(file)}, {"TFY_API_KEY": "another"}),
        ({}, {"TFY_API_KEY": "another", "GATEWAY_METRICS_TOKEN_FILE": str(file)}),
    ):
        token = read_settings(flags, environ).token
        assert token is not None
        assert token.get_secret_value() == TOKEN


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_refused(
    tmp_path: Path, content: str | bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=r"^the token file .*token (is empty|cannot be read: )"):
        read_settings({"token_file": str(file)}, {"TFY_API_KEY": TOKEN})


def test_the_token_is_no_flag_no_variable_of_ours_and_no_key_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'token = "{TOKEN}"\n')

    assert "token" not in flag_names()
    for environ in ({"GATEWAY_METRICS_TOKEN": TOKEN}, {"GATEWAY_METRICS_CONFIG": str(file)}):
        with pytest.raises(SettingsError, match=r"unknown (variable|setting)") as caught:
            read_settings({}, environ)
        assert TOKEN not in str(caught.value)


def test_no_token_is_shown_where_settings_are() -> None:
    read = read_settings({}, {"TFY_API_KEY": TOKEN})

    assert read.token is not None
    shown = (repr(read), str(read), read.model_dump_json(), str(read.model_dump()))
    assert [text for text in shown if TOKEN in text] == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("GATEWAY_METRICS_BUDGT", "GATEWAY_METRICS_BUDGET"),
        ("GATEWAY_METRICS_ALLOWED_HOSTS", "GATEWAY_METRICS_ALLOWED_HOST"),
        ("GATEWAY_METRICS_ROWCAP", "GATEWAY_METRICS_ROW_CAP"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_right_spelling(name: str, near: str) -> None:
    with pytest.raises(SettingsError, match=f"^unknown variable {name}. Did you mean {near}"):
        read_settings({}, {name: "1"})


def test_a_misspelt_key_of_the_file_is_refused_with_the_right_spelling(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("log-level = 'INFO'\n")
    with pytest.raises(SettingsError, match=r"unknown setting log-level\. Did you mean log_level"):
        read_settings({"config": str(file)}, {})


@pytest.mark.parametrize("content", [None, "backend = ", b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=r"^the file .*settings\.toml cannot be read: "):
        read_settings({"config": str(file)}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", "499"),
        ("budget", "12001"),
        ("timeout", "0"),
        ("timeout", "nan"),
        ("port", "65536"),
        ("threads", "0"),
        ("row_cap", "0"),
        ("memory", "lots"),
        ("memory", "2GB'; --"),
        ("transport", "carrier-pigeon"),
        ("log_level", "LOUD"),
        ("unknown_fields", "maybe"),
        ("timezone", "Mars/Olympus"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read_settings({name: value}, {})


def test_every_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^budget: .*; port: "):
        read_settings({"budget": "5"}, {"GATEWAY_METRICS_PORT": "-1"})


def _write_with_mark(file: Path, text: str) -> Path:
    """A file as editors on Windows write it: with a byte order mark."""
    file.write_text(text, "utf-8-sig")
    return file


def test_settings_and_secrets_are_read_with_a_byte_order_mark(tmp_path: Path) -> None:
    config = _write_with_mark(tmp_path / "settings.toml", "budget = 1000\n")
    secret = _write_with_mark(tmp_path / "token", f"{TOKEN}\n")
    environ = {"GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE": str(secret)}
    read = read_settings({"config": str(config), "token_file": str(secret)}, environ)

    assert read.budget == 1000
    assert read.token is not None
    assert read.token.get_secret_value() == TOKEN
    assert read.clickhouse_password == read.token


def test_files_of_operators_are_read_with_a_byte_order_mark(tmp_path: Path) -> None:
    key = _write_with_mark(tmp_path / "key", "0123456789abcdef\n")
    catalog = _write_with_mark(tmp_path / "catalog.json", '{"datasources": {}}')
    prices = _write_with_mark(
        tmp_path / "prices.toml", '[[price]]\nmodel = "*"\ninput = 1\noutput = 2\n'
    )
    tokens = _write_with_mark(
        tmp_path / "tokens.toml", f'[[tokens]]\nsha256 = "{"0" * 64}"\nsubject = "ada"\n'
    )
    _write_with_mark(tmp_path / "secret", f"{TOKEN}\n")
    subjects = _write_with_mark(
        tmp_path / "subjects.toml", '[subjects."ada"]\ntoken_file = "secret"\n'
    )

    assert read_hiding_key(Settings(hide_emails=True, hide_emails_key=key)) == b"0123456789abcdef"
    assert load_catalog(catalog) == load_catalog()
    assert read_prices(prices)[0].output == 2
    assert read_tokens(tokens).tokens[0].subject == "ada"
    assert read_subjects(subjects, is_remote=True)["ada"].token == TOKEN


@pytest.mark.skipif(os.name == "nt", reason="has no modes")
@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o604, True), (0o640, False)])
def test_a_secret_that_others_can_read_is_warned_of_once(
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
    caplog: pytest.LogCaptureFixture,
    mode: int,
    *,
    is_told: bool,
) -> None:
    names = ("token_file", "hide_emails_key")
    flags = []
    for name in (*names, "password"):
        (tmp_path / name).write_text("secret", "utf-8")
        (tmp_path / name).chmod(mode)
        flags += [] if name == "password" else [f"--{name.replace('_', '-')}", str(tmp_path / name)]
    variables = {"GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE": str(tmp_path / "password")}
    run("api", "--backend", "https://gateway.example.com", *flags, **variables)

    told = caplog.text.count("can be read by every user of this machine: chmod 600 it")
    assert told == (len(names) + 1 if is_told else 0)
