"""Translates ClickHouse's errors into ours; its own texts only go to the log."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    EngineError,
    ForbiddenError,
    GatewayMetricsError,
    InternalError,
    QueryTooLargeError,
    RateLimitedError,
    SettingsError,
    TlsError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    WrongHostError,
)

logger = logging.getLogger(__name__)

UNKNOWN_IDENTIFIER: Final = 47

_TIMES: Final = (159, 160, 209)
_MEMORY: Final = (241,)
_LARGE: Final = (158, 307, 396)
_BUSY: Final = (201, 202)
_LOGIN: Final = (192, 193, 194, 516)
_ACCESS: Final = (291, 497)
_SETTINGS: Final = (115, 164, 452)
_TABLES: Final = (60, 81)
_COLUMNS: Final = (UNKNOWN_IDENTIFIER, 43, 44, 53, 70, 386)
_SHARDS: Final = (210, 279, 394)

_TOO_LATE: Final = "no answer in time. Ask for a shorter window or fewer groups"
_TOO_HEAVY: Final = (
    "the question needs more memory than a query may use. Ask for a shorter window, fewer"
    " percentiles or fewer groups, or raise the memory limit"
)
_TOO_LARGE: Final = (
    "the question exceeds a limit of the ClickHouse user's profile; the log names it. Ask for a"
    " shorter window or fewer groups"
)
_FORBIDDEN_SETTING: Final = (
    "the ClickHouse user's profile forbids a setting that queries need; the log names it"
)
_WRONG_COLUMN: Final = "a column of {table} is not of the published type; the log names it"

_KINDS: Final[tuple[tuple[tuple[int, ...], type[GatewayMetricsError], str], ...]] = (
    (_TIMES, BackendTimeoutError, _TOO_LATE),
    (_MEMORY, QueryTooLargeError, _TOO_HEAVY),
    (_LARGE, QueryTooLargeError, _TOO_LARGE),
    (
        _BUSY,
        RateLimitedError,
        "ClickHouse accepts no more queries right now: too many run, or a quota is used up",
    ),
    (_LOGIN, UnauthorizedError, "ClickHouse does not accept the user or the password"),
    (_ACCESS, ForbiddenError, "the ClickHouse user may not read {table}"),
    (_SETTINGS, SettingsError, _FORBIDDEN_SETTING),
    (_TABLES, EngineError, "the database has no table {table}; docs/clickhouse.md has its DDL"),
    (_COLUMNS, EngineError, _WRONG_COLUMN),
    (_SHARDS, UnavailableError, "ClickHouse gave up the query, or a shard cannot be reached"),
)


def translate(error: ClickHouseError, table: str) -> GatewayMetricsError:
    """Our error for one of ClickHouse's, by its code."""
    code = error.code if isinstance(error, Error) else None
    logger.warning("ClickHouse on %s: %s: %s", table, type(error).__name__, error)
    for codes, kind, message in _KINDS:
        if code in codes:
            return kind(message.format(table=table))
    if code is not None:
        return InternalError("the engine failed; the log has the details")
    return _of_connection(error)


def _of_connection(error: ClickHouseError) -> GatewayMetricsError:
    """Our error for a failure before ClickHouse answered."""
    links = list(_chain(error))
    if any(isinstance(link, ssl.SSLError) for link in links):
        return TlsError(
            "no TLS with the ClickHouse server: its certificate cannot be verified, or the port"
            " does not speak it"
        )
    # A socket timeout means connecting: the query's own limit ends before a read times out.
    if any(isinstance(link, OSError | HTTPException) for link in links):
        return UnreachableError(
            "no connection to ClickHouse. Check host and port of the backend's URL (the HTTP"
            " interface: 8123, with TLS 8443)"
        )
    return WrongHostError(
        "what answered at the backend's address is not ClickHouse's HTTP interface; the log has"
        " its answer"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from _chain(error.__context__)
