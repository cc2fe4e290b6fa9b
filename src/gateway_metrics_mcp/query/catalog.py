"""The catalog: the fields, operators and measures of each datasource, read from JSON.

A catalog file of the operator's can add fields. Checks of a query are in validation.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import ValidationError

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.model import Aggregation, Filter, Frozen
from gateway_metrics_mcp.query.vocabulary import (
    METADATA_PREFIX,
    AggregationType,
    DatasourceName,
    FieldType,
    Operator,
)

TableType = Literal[
    "TEXT", "BIGINT", "INTEGER", "DOUBLE PRECISION", "BOOLEAN", "TIMESTAMPTZ", "Array(Text)"
]
_TABLE_TYPES: Final[dict[FieldType, TableType]] = {
    "string": "TEXT",
    "number": "DOUBLE PRECISION",
    "boolean": "BOOLEAN",
    "array": "Array(Text)",
}
# What a model reads of a broken catalog file: the full text names a path.
_UNUSABLE: Final = "the catalog file of this server cannot be used: the reason is in its log"
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.:/@+ -]{0,79}"
_UNIT: Final = r"[A-Za-z0-9%/$ ]{0,20}"
AliasKind = Literal["columns", "groupBy", "filters"]
_KINDS: Final[tuple[AliasKind, ...]] = get_args(AliasKind)


class Column(Frozen):
    """A column that can be aggregated, and the functions it takes."""

    type: FieldType = "number"
    aggregations: tuple[AggregationType, ...]
    table_column: str
    unit: str | None = None
    description: str = ""


class Dimension(Frozen):
    """A field to group by; `response_key` is its name in the gateway's rows (R6, R7)."""

    type: FieldType = "string"
    response_key: str
    table_column: str


class FilterField(Frozen):
    """A field to filter by.

    `operators` are those of the current API documentation, `legacy` those that only its older
    editions list. Both are accepted, since clients written for the older editions still exist.
    """

    type: FieldType
    operators: tuple[Operator, ...]
    legacy: tuple[Operator, ...] = ()
    is_null: bool = False
    table_column: str

    @property
    def allowed(self) -> tuple[Operator, ...]:
        """Every operator the field accepts."""
        # The API documents IS_NULL as an extra of single fields, beside the sets of operators.
        null: tuple[Operator, ...] = ("IS_NULL",) if self.is_null else ()
        return (*self.operators, *self.legacy, *null)


class Datasource(Frozen):
    """One kind of metric rows.

    `rows` says what one row counts, `traps` lists common misreadings, and `requires` names a
    table column that must not be null (R16).
    """

    table: str
    title: str
    rows: str
    traps: tuple[str, ...] = ()
    requires: str | None = None
    has_virtual_models: bool = False
    columns: dict[str, Column]
    group_by: dict[str, Dimension]
    filters: dict[str, FilterField]

    def names(self, kind: AliasKind) -> tuple[str, ...]:
        """The names that a part of a query may use."""
        if kind == "columns":
            return tuple(self.columns)
        return tuple(self.group_by if kind == "groupBy" else self.filters)

    def response_key(self, dimension: str) -> str:
        """The key of a group-by field in the gateway's rows (R6, R7)."""
        known = self.group_by.get(dimension)
        return dimension if known is None else known.response_key


class Catalog(Frozen):
    """All datasources, and aliases for names that the API spells in two ways."""

    datasources: dict[DatasourceName, Datasource]
    aliases: dict[AliasKind, dict[str, str]]
    metadata_operators: tuple[Operator, ...]

    @cached_property
    def measures(self) -> dict[DatasourceName, dict[str, Measure]]:
        """By datasource, the measures whose fields are all in the catalog, by name."""
        return {
            name: {
                measure.name: measure
                for measure in load_measures()
                if name in measure.datasources and not lacking_fields(name, self, measure)
            }
            for name in self.datasources
        }

    def canonical(self, kind: AliasKind, name: str) -> str:
        """The spelling that the API takes in this part of a request body."""
        # One field has several names: it is grouped by as `virtualaccount` and `virtualModel`,
        # but filtered by as `virtualAccount` and `virtualModelName`.
        return self.aliases[kind].get(name, name)

    def filter_field(self, datasource: DatasourceName, name: str) -> FilterField | None:
        """The filter field of this name, or None. Every `metadata.<key>` is a filter field."""
        # Metadata keys come from callers' request headers, so no catalog can list them.
        if name.startswith(METADATA_PREFIX):
            return FilterField(
                type="string", operators=self.metadata_operators, table_column="Metadata"
            )
        return self.datasources[datasource].filters.get(name)

    def table_type(self, table: str, column: str) -> TableType:
        """The type of a column that the vendor's layout does not list, from how it is used."""
        entries: Iterator[Column | Dimension | FilterField] = (
            entry
            for datasource in self.datasources.values()
            if datasource.table == table
            for kind in (datasource.columns, datasource.filters, datasource.group_by)
            for entry in kind.values()
        )
        used = (entry.type for entry in entries if entry.table_column == column)
        return _TABLE_TYPES[next(used, "string")]


@cache
def load_catalog(own_file: Path | None = None) -> Catalog:
    """The packaged catalog, with the fields of the operator's catalog file added.

    The file is JSON in the shape of the packaged catalog: `{"datasources": {"modelMetrics":
    {"columns": {...}, "groupBy": {...}, "filters": {...}}}}`.

    Raises:
        SettingsError: if the file cannot be read or has another shape.
    """
    raw = json.loads(resources.files(__package__).joinpath("catalog.json").read_text("utf-8"))
    if own_file is None:
        return _build(raw)
    try:
        _merge(raw, json.loads(own_file.read_text("utf-8-sig")))
        return _build(raw)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except (TypeError, AttributeError):
        wrong = "it does not have the packaged catalog's shape"
    except KeyError as error:
        wrong = f"the key {error} is missing in an entry"
    except (OSError, ValueError) as error:
        wrong = str(error)
    raise SettingsError(f"the catalog file {own_file}: {wrong}", public=_UNUSABLE)


def _merge(raw: dict[str, Any], own: Any) -> None:
    """Add the file's fields in place; a field of the same name is replaced."""
    if not isinstance(own, dict) or set(own) != {"datasources"}:
        raise ValueError('give one object with the one key "datasources"')
    for name, additions in own["datasources"].items():
        if name not in raw["datasources"]:
            raise ValueError(f"unknown datasource {name!r}; known: {', '.join(raw['datasources'])}")
        for kind, entries in additions.items():
            if kind not in _KINDS:
                raise ValueError(f"{name}: unknown key {kind!r}; known: {', '.join(_KINDS)}")
            for field, entry in entries.items():
                _check_names(name, field, entry)
                # Usually the gateway's rows name the field as it is grouped by.
                implied = {"responseKey": field} if kind == "groupBy" else {}
                raw["datasources"][name][kind][field] = {**implied, **entry}


def _check_names(datasource: str, field: str, entry: Mapping[str, Any]) -> None:
    """Refuse names and units that could break a list: answers print them without quotes."""
    if re.fullmatch(_NAME, field) is None:
        raise ValueError(
            f"{datasource}: {field!r} is not a name: up to 80 of A-Z a-z 0-9 _ . : / @ + -"
        )
    if re.fullmatch(_UNIT, str(entry.get("unit") or "")) is None:
        raise ValueError(
            f"{datasource}: the unit of {field} is not valid: up to 20 letters, % / $ or digits"
        )


def _build(raw: Mapping[str, Any]) -> Catalog:
    """Replace the names of operator and aggregation sets with their members, then validate."""
    operators, aggregations = raw["operatorSets"], raw["aggregationSets"]
    datasources = {}
    for name, datasource in raw["datasources"].items():
        columns = {
            field: {**entry, "aggregations": _expand(entry["aggregations"], aggregations)}
            for field, entry in datasource["columns"].items()
        }
        filters = {
            field: {
                **entry,
                "operators": _expand(entry["operators"], operators),
                "legacy": _expand(entry.get("legacy", ()), operators),
            }
            for field, entry in datasource["filters"].items()
        }
        datasources[name] = {**datasource, "columns": columns, "filters": filters}
    return Catalog.model_validate(
        {
            "datasources": datasources,
            "aliases": raw["aliases"],
            "metadataOperators": _expand(raw["metadataOperators"], operators),
        }
    )


def _expand(names: str | Iterable[str], sets: Mapping[str, list[str]]) -> Iterable[str]:
    """The members of a named set; a list is returned unchanged."""
    if not isinstance(names, str):
        return names
    if names not in sets:
        raise ValueError(f"unknown set {names!r}; known: {', '.join(sets)}")
    return sets[names]


SHARE: Final = "share"
"""A row's fraction, 0 to 1, of the ALL row in the additive value before it."""


class ValueSet(Frozen):
    """The rows whose field has one of these words, in any case.

    The API does not document how it spells such values (a cache hit, a guardrail's result). A
    filter on a guessed spelling would count nothing and look like 0, so the field's values are
    queried and matched here.
    """

    field: str
    words: tuple[str, ...]
    others: tuple[str, ...]
    """Known words that mean something else."""

    def is_known(self, values: Iterable[object]) -> bool:
        """Whether the spelling is known: some value matches, or every value is a known other.

        Nulls, which record nothing, leave nothing to be known.
        """
        texts = [value for value in values if isinstance(value, str)]
        return any(map(self.takes, texts)) or all(map(self.leaves, texts))

    def takes(self, value: object) -> bool:
        """Whether a value of the field matches one of the words."""
        return isinstance(value, str) and value.strip().casefold() in self.words

    def leaves(self, value: object) -> bool:
        """Whether a value is known to mean something else."""
        return isinstance(value, str) and value.strip().casefold() in self.others


class Rows(Frozen):
    """The rows of a query that a term counts; all of them by default."""

    filters: tuple[Filter, ...] = ()
    spelling: ValueSet | None = None

    @property
    def has_conditions(self) -> bool:
        """Whether only some rows count, so that the term needs a query of its own."""
        return bool(self.filters) or self.spelling is not None


class Term(Frozen):
    """One side of a ratio: a sum of aggregations over some rows.

    Without aggregations it is the number of rows.
    """

    aggregations: tuple[Aggregation, ...] = ()
    rows: Rows = Rows.model_construct()  # all; `Rows()` would build a validator of its own


class Measure(Frozen):
    """A ratio of two terms times `scale`; null if the denominator is 0 or null.

    It is a ratio of sums, never a mean of ratios, so it is also correct for the ALL row.
    """

    name: str
    unit: str
    formula: str
    numerator: Term
    denominator: Term
    scale: int = 1
    others: Rows | None = None
    """The rows that record the opposite of the numerator's: with neither, a rate is unknown."""
    datasources: tuple[DatasourceName, ...]

    @property
    def terms(self) -> tuple[Term, Term]:
        """The numerator and the denominator."""
        return (self.numerator, self.denominator)


@cache
def load_measures() -> tuple[Measure, ...]:
    """All measures, including those that need a field the catalog lacks."""
    text = resources.files(__package__).joinpath("measures.json").read_text("utf-8")
    return tuple(Measure(name=name, **entry) for name, entry in json.loads(text).items())


def lacking_fields(datasource: DatasourceName, catalog: Catalog, measure: Measure) -> list[str]:
    """The fields a measure needs that the catalog lacks, or does not allow for that use."""
    known = catalog.datasources[datasource]
    # `toolCallErrorRate`, for one, needs a field that the published API lacks and a catalog file
    # can add.
    lacking: dict[str, None] = {}
    for term in measure.terms:
        for aggregation in term.aggregations:
            column = known.columns.get(aggregation.column)
            if column is None or aggregation.type not in column.aggregations:
                lacking[aggregation.column] = None
        for filter_ in term.rows.filters:
            field = known.filters.get(filter_.field_name)
            if field is None or filter_.operator not in field.allowed:
                lacking[filter_.field_name] = None
        if term.rows.spelling is not None and term.rows.spelling.field not in known.group_by:
            lacking[term.rows.spelling.field] = None
    return list(lacking)
