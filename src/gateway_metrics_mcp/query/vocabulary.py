"""The API's closed word lists, each written once. Which field takes which is in the catalog."""

from __future__ import annotations

from typing import Final, Literal, get_args

QueryType = Literal["distribution", "timeseries"]

DatasourceName = Literal[
    "modelMetrics",
    "mcpMetrics",
    "guardrailMetrics",
    "cacheMetrics",
    "configMetrics",
    "agentMetrics",
]

AggregationType = Literal[
    "sum",
    "count",
    "countDistinct",
    "min",
    "max",
    "avg",
    "p5",
    "p10",
    "p25",
    "p50",
    "p75",
    "p90",
    "p95",
    "p99",
    "p999",
    "rateSum",
    "rateAvg",
    "rateMin",
    "rateMax",
    "ratePerMinute",
]

Operator = Literal[
    "EQUAL",
    "NOT_EQUAL",
    "IN",
    "NOT_IN",
    "STRING_CONTAINS",
    "STRING_NOT_CONTAINS",
    "STRING_STARTS_WITH",
    "STRING_NOT_STARTS_WITH",
    "STRING_ENDS_WITH",
    "STRING_NOT_ENDS_WITH",
    "GREATER_THAN",
    "LESS_THAN",
    "GREATER_THAN_EQUAL",
    "LESS_THAN_EQUAL",
    "BETWEEN",
    "ARRAY_HAS_ANY",
    "ARRAY_HAS_NONE",
    "IS_NULL",
]

FieldType = Literal["string", "number", "boolean", "array"]

IntervalUnit = Literal["second", "minute", "hour", "day", "week", "month", "year"]

QUERY_TYPES: Final[tuple[QueryType, ...]] = get_args(QueryType)
API_PATH: Final = "/api/svc/v1/llm-gateway/metrics/query"
"""Where the API answers, below the address of a control plane or of `api`."""

DATASOURCES: Final[tuple[DatasourceName, ...]] = get_args(DatasourceName)
AGGREGATION_TYPES: Final[tuple[AggregationType, ...]] = get_args(AggregationType)
OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
INTERVAL_UNITS: Final[tuple[IntervalUnit, ...]] = get_args(IntervalUnit)

RATE_TYPES: Final[frozenset[AggregationType]] = frozenset(
    ("rateSum", "rateAvg", "rateMin", "rateMax", "ratePerMinute")
)
"""Aggregations divided by the bucket's length; only a timeseries has them (R14)."""

PERCENTILES: Final[dict[AggregationType, float]] = {
    "p5": 0.05,
    "p10": 0.1,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
}

LIST_OPERATORS: Final[frozenset[Operator]] = frozenset(
    ("IN", "NOT_IN", "ARRAY_HAS_ANY", "ARRAY_HAS_NONE")
)
"""Operators that take a list of one or more values."""

NEGATIVE_OPERATORS: Final[frozenset[Operator]] = frozenset(
    (
        "NOT_EQUAL",
        "NOT_IN",
        "STRING_NOT_CONTAINS",
        "STRING_NOT_STARTS_WITH",
        "STRING_NOT_ENDS_WITH",
    )
)
"""Operators that negate a whole subject filter (R8)."""

METADATA: Final = "metadata"
METADATA_PREFIX: Final = f"{METADATA}."
