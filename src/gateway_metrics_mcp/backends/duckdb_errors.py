"""What DuckDB raises -> the error of ours that says who must act."""

from __future__ import annotations

import logging

import duckdb

from gateway_metrics_mcp.errors import (
    EngineError,
    GatewayMetricsError,
    InternalError,
    QueryTooLargeError,
)

logger = logging.getLogger(__name__)


def translate(error: duckdb.Error, table: str) -> GatewayMetricsError:
    """DuckDB's error as one of ours; its own words go to the log alone."""
    logger.warning("DuckDB on %s: %s: %s", table, type(error).__name__, error)
    if isinstance(error, duckdb.ConnectionException):
        return InternalError("the engine is closed")
    if isinstance(error, duckdb.ParserException | duckdb.CatalogException):
        return InternalError("the engine failed; the log has the details")
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryTooLargeError(
            "the question needs more memory than the engine may use. Ask a shorter window, fewer"
            " percentiles or fewer groups, or raise the memory limit"
        )
    if isinstance(error, duckdb.DataError | duckdb.BinderException):
        return EngineError(f"a column of {table} is not of the published type; the log names it")
    if isinstance(error, duckdb.PermissionException):
        return EngineError(
            f"a Parquet file of {table} is a link out of the data directory; the log names it"
        )
    # All else comes from a file: DuckDB has no class of its own for most kinds of damage.
    return EngineError(f"a Parquet file of {table} cannot be read; the log has the details")
