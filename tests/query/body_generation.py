"""Request bodies generated from the catalog: each column, field and operator at least once.

`python tests/query/body_generation.py` writes them to generated_bodies.json; a test holds the
file and this to each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway_metrics_mcp.query.catalog import Catalog, Datasource, FilterField, load_catalog
from gateway_metrics_mcp.query.vocabulary import INTERVAL_UNITS, LIST_OPERATORS, RATE_TYPES

FILE: Final = Path(__file__).with_name("generated_bodies.json")
_WINDOW: Final = {"startTs": "2026-07-01T00:00:00.000Z", "endTs": "2026-07-08T12:30:00.000Z"}
_VALUES: Final[dict[str, tuple[Any, Any]]] = {
    "string": ("gpt", 'text, with "quotes" and 100 %'),
    "array": ("search", "platform"),
    "number": (400, 2500.5),
    "boolean": (True, False),
}


def generate_bodies(catalog: Catalog) -> list[dict[str, Any]]:
    """One body and more per datasource; the order is the catalog's."""
    return [
        {**_WINDOW, "datasource": name, **body}
        for name, datasource in catalog.datasources.items()
        for body in _bodies_of(catalog, datasource)
    ]


def _bodies_of(catalog: Catalog, datasource: Datasource) -> Iterator[dict[str, Any]]:
    yield {"type": "distribution"}
    for field in (*datasource.group_by, "metadata.environment"):
        yield {"type": "distribution", "groupBy": [field]}
    for column, entry in datasource.columns.items():
        every = [{"type": t, "column": column} for t in entry.aggregations]
        plain = [a for a in every if a["type"] not in RATE_TYPES]
        yield {"type": "distribution", "aggregations": plain}
        yield {"type": "timeseries", "aggregations": every, "interval": "1 hour"}
    for unit in INTERVAL_UNITS:
        yield {
            "type": "timeseries",
            "interval": f"3 {unit}s",
            "groupBy": [*datasource.group_by][:1],
        }
    for field, known in datasource.filters.items():
        for operator in known.allowed:
            given = {"fieldName": field, "operator": operator, "value": _value(known, operator)}
            yield {"type": "distribution", "filters": [given]}
    for operator in catalog.metadata_operators:
        value = ["a", "b"] if operator in LIST_OPERATORS else "a"
        given = {"metadataKey": "cost center", "operator": operator, "value": value}
        yield {"type": "distribution", "filters": [given]}


def _value(field: FilterField, operator: str) -> Any:
    first, second = _VALUES[field.type]
    if operator == "IS_NULL":
        return True
    if operator == "BETWEEN":
        return sorted([first, second])
    return [first, second] if operator in LIST_OPERATORS else first


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(body) for body in generate_bodies(load_catalog()))
    FILE.write_text(f"[\n{lines}\n]\n", "utf-8")
