"""A ClickHouse server or cluster, over its HTTP interface; here is its address alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway_metrics_mcp.errors import SettingsError

__all__ = ["Address"]

_FORM: Final = "clickhouse://user@host:8123/database, with ?secure=true or clickhouses:// for TLS"
_REVEALED: Final = (
    "the backend's URL contains a password, which others can read in the process list. Put it into"
    " GATEWAY_METRICS_CLICKHOUSE_PASSWORD, or its file's name into"
    " GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A ClickHouse server's HTTP interface, with a user and a database; no password."""

    host: str
    port: int
    user: str
    database: str
    is_secure: bool

    @classmethod
    def read(cls, text: str) -> Self:
        """The address in a URL; the default port is 8123, or 8443 with TLS.

        Raises:
            SettingsError: if it is invalid or holds a password; the message repeats neither.
        """
        try:
            url = urlsplit(text)
            port, host = url.port, url.hostname
        except ValueError:
            raise SettingsError(f"the backend's URL cannot be read. Give {_FORM}") from None
        if url.password is not None:
            raise SettingsError(_REVEALED)
        database = unquote(url.path.removeprefix("/").removesuffix("/"))
        if not host or url.fragment or "/" in url.path[1:].removesuffix("/"):
            raise SettingsError(f"the backend's URL is not complete. Give {_FORM}")
        is_secure = _read_secure(url)
        return cls(
            host=host,
            port=port or (8443 if is_secure else 8123),
            user=unquote(url.username or "default"),
            database=database or "default",
            is_secure=is_secure,
        )

    def __str__(self) -> str:
        """`host:8123/database`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def _read_secure(url: SplitResult) -> bool:
    # parse_qsl keeps blank values, so that `?password=` is refused as well.
    asked = dict(parse_qsl(url.query, keep_blank_values=True))
    if "password" in asked:
        raise SettingsError(_REVEALED)
    secure = asked.pop("secure", "false").lower()
    if asked or secure not in ("true", "1", "false", "0"):
        raise SettingsError(f"the backend's URL takes ?secure=true and nothing else. Give {_FORM}")
    return secure in ("true", "1") or url.scheme == "clickhouses"
