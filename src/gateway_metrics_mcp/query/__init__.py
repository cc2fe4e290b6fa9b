"""Queries and results: what can be asked of a backend, and what it returns. No engine is here."""

from gateway_metrics_mcp.query.caller import LOCAL, Caller
from gateway_metrics_mcp.query.catalog import SHARE, Catalog, Datasource, Measure
from gateway_metrics_mcp.query.model import Aggregation, Filter, Query, format_instant, parse_json
from gateway_metrics_mcp.query.result import (
    TOTAL,
    DataPoint,
    DataPoints,
    Key,
    Number,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.time.window import Window
from gateway_metrics_mcp.query.vocabulary import (
    DATASOURCES,
    METADATA,
    METADATA_PREFIX,
    RATE_TYPES,
    DatasourceName,
)

__all__ = [
    "DATASOURCES",
    "LOCAL",
    "METADATA",
    "METADATA_PREFIX",
    "RATE_TYPES",
    "SHARE",
    "TOTAL",
    "Aggregation",
    "Caller",
    "Catalog",
    "DataPoint",
    "DataPoints",
    "Datasource",
    "DatasourceName",
    "Filter",
    "Interval",
    "Key",
    "Measure",
    "Number",
    "Query",
    "Result",
    "Window",
    "add_up",
    "did_you_mean",
    "format_instant",
    "parse_json",
    "quote",
]
