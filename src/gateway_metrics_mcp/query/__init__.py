"""Queries and results: what can be asked of a backend, and what it returns. No engine is here."""

from gateway_metrics_mcp.errors import break_markup, quote
from gateway_metrics_mcp.query.catalog import SHARE, Catalog, Datasource, Measure, load_catalog
from gateway_metrics_mcp.query.model import (
    LOCAL,
    Aggregation,
    Caller,
    Filter,
    Query,
    Scalar,
    format_instant,
    parse_json,
)
from gateway_metrics_mcp.query.result import (
    TOTAL,
    DataPoint,
    DataPoints,
    Key,
    Number,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.suggestions import (
    closest_matches,
    did_you_mean,
    fold,
)
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.time.window import Window
from gateway_metrics_mcp.query.time.zone import name_zone, read_zone
from gateway_metrics_mcp.query.vocabulary import (
    API_PATH,
    DATASOURCES,
    METADATA,
    METADATA_PREFIX,
    RATE_TYPES,
    DatasourceName,
)

__all__ = [
    "API_PATH",
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
    "Scalar",
    "Window",
    "add_up",
    "break_markup",
    "closest_matches",
    "did_you_mean",
    "fold",
    "format_instant",
    "load_catalog",
    "name_zone",
    "parse_json",
    "quote",
    "read_zone",
]
