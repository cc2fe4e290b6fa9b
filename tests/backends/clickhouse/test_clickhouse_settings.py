"""From the settings to the backend: the address, the password and the package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from gateway_metrics_mcp import errors
from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.clickhouse import Address
from gateway_metrics_mcp.backends.clickhouse.errors import translate
from gateway_metrics_mcp.backends.factory import open_backend
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.settings import Settings, flag_names

PASSWORD: Final = "pass-secret-1234"  # noqa: S105  # planted: no failure may show it
VARIABLE: Final = "GATEWAY_METRICS_CLICKHOUSE_PASSWORD"

Read = Callable[..., Settings]


def open_named(settings: Settings) -> Backend:
    return open_backend(settings, load_catalog(), lambda: datetime.now(UTC))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("clickhouse://h", Address("h", 8123, "default", "default", is_secure=False)),
        ("clickhouse://u@h:9/d", Address("h", 9, "u", "d", is_secure=False)),
        ("clickhouse://u@h/d/", Address("h", 8123, "u", "d", is_secure=False)),
        ("clickhouse://u@h/d?secure=true", Address("h", 8443, "u", "d", is_secure=True)),
        ("clickhouse://u@h/d?secure=0", Address("h", 8123, "u", "d", is_secure=False)),
        ("clickhouses://u@h/d", Address("h", 8443, "u", "d", is_secure=True)),
        ("clickhouse://a%40b@h/my%20db", Address("h", 8123, "a@b", "my db", is_secure=False)),
        ("clickhouse://[::1]:9/d", Address("::1", 9, "default", "d", is_secure=False)),
    ],
)
def test_a_url_names_host_user_database_and_tls(url: str, expected: Address) -> None:
    assert Address.read(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://",
        "clickhouse://u@/d",
        "clickhouse://u@h:port/d",
        "clickhouse://u@h:99999/d",
        "clickhouse://u@h/d/e",
        "clickhouse://u@h/d?secure=maybe",
        "clickhouse://u@h/d?compress=0",
        "clickhouse://u@h/d#x",
        "clickhouse://[h/d",
    ],
)
def test_a_url_that_is_none_is_refused_with_the_form_to_give(url: str) -> None:
    with pytest.raises(SettingsError, match="clickhouse://user@host:8123/database"):
        Address.read(url)


@pytest.mark.parametrize(
    "url", [f"clickhouse://u:{PASSWORD}@h/d", f"clickhouse://u@h/d?password={PASSWORD}"]
)
def test_a_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=VARIABLE) as caught:
        Address.read(url)

    assert PASSWORD not in str(caught.value)


def test_the_scheme_opens_the_backend_which_describes_itself_without_secrets(read: Read) -> None:
    for scheme in ("clickhouse", "clickhouses"):
        settings = read(
            GATEWAY_METRICS_BACKEND=f"{scheme}://reader@[::1]:9/d", **{VARIABLE: PASSWORD}
        )
        backend = open_named(settings)

        assert backend.description == "ClickHouse at [::1]:9/d"
        assert PASSWORD not in repr(settings) + repr(vars(settings)) + repr(backend)


def test_the_password_is_no_flag_and_no_key_of_the_file(read: Read, tmp_path: Path) -> None:
    assert "clickhouse_password" not in flag_names()
    file = tmp_path / "config.toml"
    file.write_text('clickhouse_password = "x"\n', "utf-8")

    with pytest.raises(SettingsError, match="unknown setting clickhouse_password"):
        read(GATEWAY_METRICS_CONFIG=str(file))


def test_the_password_comes_from_a_file_before_the_variable(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", "utf-8")

    settings = read(**{VARIABLE: "other", f"{VARIABLE}_FILE": str(file)})

    assert settings.clickhouse_password is not None
    assert settings.clickhouse_password.get_secret_value() == PASSWORD
    with pytest.raises(SettingsError, match=r"the password file .*absent cannot be read"):
        read(**{f"{VARIABLE}_FILE": str(tmp_path / "absent")})


def test_where_the_package_is_absent_its_installation_is_named(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("gateway_metrics_mcp.backends.c")]:
        if "clickhouse" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "clickhouse_connect", None)

    with pytest.raises(SettingsError, match=r"pip install 'gateway-metrics-mcp\[clickhouse\]'"):
        open_named(read(GATEWAY_METRICS_BACKEND="clickhouse://h"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (159, errors.BackendTimeoutError),
        (241, errors.QueryTooLargeError),
        (396, errors.QueryTooLargeError),
        (202, errors.RateLimitedError),
        (201, errors.RateLimitedError),
        (516, errors.UnauthorizedError),
        (497, errors.ForbiddenError),
        (164, errors.SettingsError),
        (452, errors.SettingsError),
        (60, errors.EngineError),
        (47, errors.EngineError),
        (279, errors.UnavailableError),
        (394, errors.UnavailableError),
        (62, errors.InternalError),
        (None, errors.WrongHostError),
    ],
)
def test_each_error_names_who_has_to_act_and_never_the_servers_words(
    code: int | None, expected: type[Exception]
) -> None:
    error: Any = translate(DatabaseError("words of 10.0.0.7", code=code), "gateway_mcp_metrics")

    assert type(error) is expected
    assert "10.0.0.7" not in str(error)
