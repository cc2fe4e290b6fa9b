"""The catalog as a page: datasources, and the fields of one, in few tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway_metrics_mcp.query import RATE_TYPES, SHARE, Catalog, DatasourceName
from gateway_metrics_mcp.query.catalog import Column
from gateway_metrics_mcp.rendering.cells import add_unit
from gateway_metrics_mcp.rendering.document import TOOL_WORDS, Note, Page, Section, Words


def describe_datasources(catalog: Catalog, words: Words = TOOL_WORDS) -> Page:
    """List all datasources, one per line."""
    subject = f"datasources; {words.list_fields} with one of them for its fields"
    lines = [
        f"{name}: {datasource.title}; rows are {datasource.rows}"
        for name, datasource in catalog.datasources.items()
    ]
    return Page(None, [Note("subject", subject), Section(None, lines)])


def describe_fields(name: DatasourceName, catalog: Catalog) -> Page:
    """List a datasource's columns, measures, group-by fields, filters and traps."""
    datasource = catalog.datasources[name]
    # Names that share their functions or operators share a line: the largest datasource must
    # stay within 700 tokens, which benchmarks/tokens.py checks.
    columns = _by_value({n: c.aggregations for n, c in datasource.columns.items()})
    filters = {
        n: (*f.operators, *(("IS_NULL",) if f.is_null else ()))
        for n, f in datasource.filters.items()
    }
    filters["metadata.<key>"] = catalog.metadata_operators
    sections = {
        "aggregations": [
            f"{_functions(functions)}: {_columns(names, datasource.columns)}"
            for functions, names in columns
        ],
        "measures": [", ".join([*catalog.measures[name], SHARE])],
        "groupBy": [", ".join([*datasource.group_by, "metadata.<key>"])],
        "filters": [f"{' '.join(ops)}: {', '.join(names)}" for ops, names in _by_value(filters)],
        "traps": [f"- {trap}" for trap in datasource.traps],
    }
    subject = Note("subject", f"{name}: {datasource.title}; rows are {datasource.rows}")
    return Page(None, [subject, *(Section(title, lines) for title, lines in sections.items())])


def _by_value(
    values: Mapping[str, Sequence[str]],
) -> Iterable[tuple[Sequence[str], list[str]]]:
    """Group the names by value, in order of first appearance."""
    groups: dict[Sequence[str], list[str]] = {}
    for name, value in values.items():
        groups.setdefault(tuple(value), []).append(name)
    return groups.items()


def _functions(functions: Sequence[str]) -> str:
    rates = [name for name in functions if name in RATE_TYPES]
    plain = " ".join(name for name in functions if name not in RATE_TYPES)
    return f"{plain} (timeseries also {' '.join(rates)})" if rates else plain


def _columns(names: Sequence[str], columns: Mapping[str, Column]) -> str:
    """The names, with a unit added where the name does not include it."""
    return ", ".join(add_unit(name, columns[name].unit) for name in names)
