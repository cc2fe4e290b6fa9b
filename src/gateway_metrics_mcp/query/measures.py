"""Measures people mean, as data: ratios of sums, never means of ratios."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator

from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Aggregation, Filter
from gateway_metrics_mcp.query.vocabulary import DatasourceName

SHARE: Final = "share"
"""The part of ALL that a row has of the additive value before it."""

SHARE_FORMULA: Final = "the row's part of ALL, of the additive value before it"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ValueSet(_Entry):
    """Rows whose group-by field has one of these words, in whatever case.

    How the gateway spells such values is not documented, so they are read and not guessed.
    """

    field: str
    words: tuple[str, ...]
    others: tuple[str, ...]
    """Words that are known to mean something else."""

    def is_known(self, values: Iterable[object]) -> bool:
        """Whether the values can be told apart: some are meant, or all others are known.

        Null alone tells nothing; where there is no value at all, there is nothing to tell apart.
        """
        seen = list(values)
        texts = [value.strip().casefold() for value in seen if isinstance(value, str)]
        if not texts:
            return not seen
        return any(t in self.words for t in texts) or all(t in self.others for t in texts)

    def takes(self, value: object) -> bool:
        """Whether a value of the field is meant."""
        return isinstance(value, str) and value.strip().casefold() in self.words

    def leaves(self, value: object) -> bool:
        """Whether a value of the field is known to mean something else."""
        return isinstance(value, str) and value.strip().casefold() in self.others


class Rows(_Entry):
    """Which rows of a query are meant: all, where nothing is given."""

    filters: tuple[Filter, ...] = ()
    spelling: ValueSet | None = None

    @property
    def is_all(self) -> bool:
        """Whether they are the rows of the query itself."""
        return not self.filters and self.spelling is None


class Term(_Entry):
    """One side of a ratio: the aggregations that are added up, of some rows.

    Without aggregations it is the number of rows.
    """

    aggregations: tuple[Aggregation, ...] = ()
    rows: Rows = Rows()


class Measure(_Entry):
    """A ratio of two terms times `scale`; null where the denominator is 0 or null."""

    name: str
    unit: str
    formula: str
    numerator: Term
    denominator: Term
    scale: int = 1
    datasources: tuple[DatasourceName, ...]

    @property
    def terms(self) -> tuple[Term, Term]:
        """Both sides."""
        return (self.numerator, self.denominator)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        """The file's short form: filters of the measure hold for both terms."""
        shared = raw.pop("filters", [])
        for side in ("numerator", "denominator"):
            raw[side] = _read_term(raw[side], shared)
        return raw


def _read_term(raw: dict[str, Any], shared: list[Any]) -> Term:
    columns = [("sum", name) for name in raw.get("sum", [])]
    columns += [("count", raw["count"])] if "count" in raw else []
    filters = [
        Filter(field_name=f["fieldName"], operator=f["operator"], value=_freeze(f["value"]))
        for f in (*shared, *raw.get("filters", []))
    ]
    spelling = raw.get("spelling")
    return Term(
        aggregations=tuple(
            Aggregation.model_validate({"type": type_, "column": column})
            for type_, column in columns
        ),
        rows=Rows(
            filters=tuple(filters),
            spelling=None if spelling is None else ValueSet.model_validate(spelling),
        ),
    )


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@cache
def load_measures() -> tuple[Measure, ...]:
    """All measures, also those for which the catalog lacks a field."""
    text = resources.files(__package__).joinpath("measures.json").read_text("utf-8")
    return tuple(Measure(name=name, **entry) for name, entry in json.loads(text).items())


def measures_of(datasource: DatasourceName, catalog: Catalog) -> dict[str, Measure]:
    """The measures that a datasource can honestly give: all their fields are in its catalog."""
    return {
        measure.name: measure
        for measure in load_measures()
        if datasource in measure.datasources and not lacking_fields(datasource, catalog, measure)
    }


def lacking_fields(datasource: DatasourceName, catalog: Catalog, measure: Measure) -> list[str]:
    """The fields of a measure that the catalog does not have, or not for that use."""
    known = catalog.datasources[datasource]
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
