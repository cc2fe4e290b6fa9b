"""Translates ClickHouse's errors into ours; its own texts only go to the log."""

from __future__ import annotations

import logging
import ssl
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
    list_causes,
)

logger = logging.getLogger(__name__)

UNKNOWN_IDENTIFIER: Final = 47
ILLEGAL_FINAL: Final = 181

_KINDS: Final[tuple[tuple[tuple[int, ...], type[GatewayMetricsError], str], ...]] = (
    (
        (159, 160, 209),
        BackendTimeoutError,
        "no answer in time. Ask for a shorter window or fewer groups",
    ),
    (
        (241,),
        QueryTooLargeError,
        (
            "the question needs more memory than a query may use. Ask for a shorter window, fewer"
            " percentiles or fewer groups, or raise the memory limit"
        ),
    ),
    (
        (158, 307, 396),
        QueryTooLargeError,
        (
            "the question exceeds a limit of the ClickHouse user's profile; the log names it. Ask"
            " for a shorter window or fewer groups"
        ),
    ),
    (
        (201, 202),
        RateLimitedError,
        "ClickHouse accepts no more queries right now: too many run, or a quota is used up",
    ),
    (
        (192, 193, 194, 516),
        UnauthorizedError,
        "ClickHouse does not accept the user or the password",
    ),
    ((291, 497), ForbiddenError, "the ClickHouse user may not read {table}"),
    (
        (115, 164, 452),
        SettingsError,
        "the ClickHouse user's profile forbids a setting that queries need; the log names it",
    ),
    (
        (60, 81),
        EngineError,
        "the database has no table {table}; docs/clickhouse.md has its DDL",
    ),
    (
        (UNKNOWN_IDENTIFIER, 43, 44, 53, 70, 386, 407),
        EngineError,
        "a column of {table} is not of the published type; the log names it",
    ),
    (
        (46,),
        EngineError,
        (
            "this ClickHouse lacks a function that a column of {table} needs; the log names it."
            " docs/clickhouse.md has the version that answers are tested on"
        ),
    ),
    (
        (395,),
        EngineError,
        (
            "a row of {table} has text that is not the JSON its column needs: an object for"
            " Metadata, a list for Teams; the log says which"
        ),
    ),
    (
        (210, 279, 394),
        UnavailableError,
        "ClickHouse gave up the query, or a shard cannot be reached",
    ),
)
"""ClickHouse's error codes, our error for them, and its text."""


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
    links = list(list_causes(error))
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
