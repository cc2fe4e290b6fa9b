"""Translates ClickHouse's errors into ours.

Its own texts go nowhere: they repeat hosts, users, statements and values of rows. The log has their
code, and the names in them that are known.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import ssl
from functools import cache
from http.client import HTTPException
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from gateway_metrics_mcp.backends.sql.dialect import published_tables
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


_UNKNOWN_FUNCTION: Final = 46
_FUNCTION: Final = re.compile("[Ff]unction (?:with name )?[`'\"]?([A-Za-z][A-Za-z0-9]{1,40})")
_STATUS: Final = re.compile(r"\b(?:code|status) ([1-5]\d\d)\b")
_SETTINGS: Final = """
    aggregate_functions_null_for_empty distributed_group_by_no_merge
    do_not_merge_across_partitions_select_final enable_positional_arguments
    force_index_by_date force_primary_key group_by_overflow_mode max_ast_depth
    max_ast_elements max_bytes_before_external_group_by max_bytes_in_distinct
    max_bytes_to_read max_bytes_to_sort max_columns_to_read
    max_concurrent_queries_for_all_users max_concurrent_queries_for_user
    max_estimated_execution_time max_execution_time max_expanded_ast_elements max_memory_usage
    max_memory_usage_for_user max_network_bandwidth max_query_size max_result_bytes
    max_result_rows max_rows_in_distinct max_rows_to_group_by max_rows_to_read
    max_rows_to_sort max_subquery_depth max_temporary_columns max_threads min_execution_speed
    optimize_move_to_prewhere_if_final precise_float_parsing read_overflow_mode readonly
    result_overflow_mode skip_unavailable_shards sort_overflow_mode timeout_overflow_mode
    transform_null_in
"""
"""Those that queries need, and those that a user's profile limits."""


def translate(error: ClickHouseError, table: str) -> GatewayMetricsError:
    """Our error for one of ClickHouse's, by its code."""
    code = error.code if isinstance(error, Error) else None
    logger.warning("ClickHouse on %s: %s", table, describe_error(error))
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
        " its status"
    )


def describe_error(error: ClickHouseError) -> str:
    """What a log may have of an error: its kind and code, and the known names in its text."""
    text = str(error)
    said = [type(error).__name__]
    if isinstance(error, Error) and error.code is not None:
        said.append(f"code {error.code}")
        if error.code == _UNKNOWN_FUNCTION and (found := _FUNCTION.search(text)):
            said.append(f"function {found[1]}")
    elif found := _STATUS.search(text):
        said.append(f"HTTP status {found[1]}")
    for link in list_causes(error.__cause__ or error.__context__):
        number = (link.errno or 0) if isinstance(link, OSError) else 0
        why = f" ({os.strerror(number)})" if number in errno.errorcode else ""
        said.append(type(link).__name__ + why)
    names = dict.fromkeys(re.findall("[A-Za-z_]+", text))
    return ", ".join((*dict.fromkeys(said), *(name for name in names if name in _known_names())))


@cache
def _known_names() -> frozenset[str]:
    """The published columns, and the settings that queries need or a profile limits."""
    return frozenset(_SETTINGS.split()).union(*published_tables().values())
