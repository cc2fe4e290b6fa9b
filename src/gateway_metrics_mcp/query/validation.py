"""Validates the parts of a query against the catalog, and the sizes of what a client sends.

Request bodies and tool arguments share these checks; their own readers take them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query.catalog import AliasKind, Catalog, Datasource, FilterField
from gateway_metrics_mcp.query.model import (
    Aggregation,
    Filter,
    FilterValue,
    Scalar,
    is_text,
    parse_json,
    parse_number,
)
from gateway_metrics_mcp.query.suggestions import closest_matches, did_you_mean, quote
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    DATASOURCES,
    LIST_OPERATORS,
    METADATA_PREFIX,
    OPERATORS,
    RATE_TYPES,
    DatasourceName,
    FieldType,
    Operator,
)

MOST_BYTES: Final = 256 * 1024
"""Bytes of a request body. These limits exist because parsing, checks and messages grow with the
input, and all callers share one event loop: 4 MB could block it for half a minute."""
MOST_KEYS: Final = 20
"""Keys of any object."""
MOST_ENTRIES: Final = 100
"""Entries of aggregations, groupBy and filters."""
MOST_VALUES: Final = 1000
"""Values of one filter."""
_LARGEST_INTEGER: Final = 2**63 - 1

_FILTER_KEYS: Final = ("fieldName", "metadataKey", "operator", "value")
_AGGREGATION_KEYS: Final = ("type", "column")
_EXPECTED: Final[dict[FieldType | None, str]] = {
    "string": "text",
    "array": "text",
    "number": "a finite number of at most 64 bits",
    "boolean": "true or false",
    None: "text, a number or a boolean",
}
_METADATA_KEY: Final = r"[A-Za-z]\w{0,63}"
"""The usual form of a metadata key; any text is valid."""
_BOOLEANS: Final = {"true": True, "false": False}
_JSON_TYPES: Final[dict[type, str]] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
}
_Choice = TypeVar("_Choice", bound=str)


def check_size(value: object, whole: str) -> None:
    """Check the size limits of a value; `whole` names the value itself in problems.

    Raises:
        InvalidQueryError: with every part that is too large.
    """
    if excess := list(_find_excess(value, "", whole)):
        raise InvalidQueryError(excess)


def _find_excess(value: object, place: str, whole: str) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        if len(value) > MOST_KEYS:
            yield Problem(place or whole, f"{len(value)} keys, the limit is {MOST_KEYS}")
            return
        for key, item in value.items():
            yield from _find_excess(item, f"{place}.{key}" if place else key, whole)
    elif isinstance(value, list | tuple):
        most = MOST_ENTRIES if place in ("aggregations", "groupBy", "filters") else MOST_VALUES
        if len(value) > most:
            yield Problem(place or whole, f"{len(value)} entries, the limit is {most}")
            return
        for index, item in enumerate(value):
            yield from _find_excess(item, f"{place}[{index}]", whole)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        yield Problem(place or whole, "a whole number of more than 64 bits")


def json_type(value: object) -> str:
    """The JSON name of a value's type."""
    return _JSON_TYPES.get(type(value), "an object")


def read_choice(
    place: str,
    value: object,
    allowed: Sequence[_Choice],
    problems: Problems,
    *,
    offered: Sequence[str] | None = None,
) -> _Choice | None:
    """The allowed word that equals the value; None after adding a problem.

    The problem suggests from `offered`, if only some of the allowed words make sense here.
    """
    for choice in allowed:
        if choice == value:
            return choice
    wrong = "missing" if value is None else f"{quote(value)} is unknown"
    choices = did_you_mean(str(value or ""), allowed if offered is None else offered)
    problems.add(place, f"{wrong}. {choices}")
    return None


class QueryValidator:
    """Turns the parts of one query into types, with names in the gateway's spelling.

    Read the datasource first; `problems` grows in reading order (R18, R20). With `allow_unknown`,
    fields that the catalog lacks pass, and only the shape of their operators and values is
    checked. With `reads_text`, a filter's value may be text of a number or a boolean, and a list
    of one entry stands for the entry.
    """

    def __init__(
        self,
        catalog: Catalog,
        problems: Problems,
        *,
        allow_unknown: bool = False,
        reads_text: bool = False,
    ) -> None:
        self.catalog = catalog
        self.problems = problems
        self.datasource: DatasourceName | None = None
        self.is_distribution = False
        """Whether rates are refused (R14); False while the query's type is unknown."""
        self._aggregations: set[Aggregation] = set()
        self._allow_unknown = allow_unknown
        self._reads_text = reads_text

    @property
    def _fields(self) -> Datasource | None:
        return None if self.datasource is None else self.catalog.datasources[self.datasource]

    def read_datasource(self, value: object) -> DatasourceName | None:
        """The datasource; it decides which names the other parts may use."""
        self.datasource = read_choice("datasource", value, DATASOURCES, self.problems)
        return self.datasource

    # --- aggregations and dimensions ---

    def read_aggregation_entry(self, place: str, item: object) -> Aggregation | None:
        """The aggregation in an object `{"type", "column"}`; None after adding a problem."""
        if not isinstance(item, Mapping):
            wrong = f"{json_type(item)} {quote(item)}"
            self.problems.add(place, f'expected {{"type", "column"}}, got {wrong}')
            return None
        self._check_keys(item, _AGGREGATION_KEYS, place)
        return self.read_aggregation(place, item.get("type"), item.get("column"))

    def read_aggregation(self, place: str, type_: object, column: object) -> Aggregation | None:
        """The aggregation; a duplicate is a problem (R18). None after adding a problem."""
        types = [t for t in AGGREGATION_TYPES if not self.is_distribution or t not in RATE_TYPES]
        known_type = read_choice(
            f"{place}.type", type_, AGGREGATION_TYPES, self.problems, offered=types
        )
        name = self.problems.attempt(f"{place}.column", self._read_name, "columns", column)
        if known_type is None or name is None:
            return None
        known = None if self._fields is None else self._fields.columns.get(name)
        if known is not None and known_type not in known.aggregations:
            allowed = ", ".join(known.aggregations)
            self.problems.add(
                f"{place}.type", f"{known_type} is not allowed on {name}. Allowed: {allowed}"
            )
        aggregation = Aggregation(type=known_type, column=name)
        if aggregation in self._aggregations:
            self.problems.add(place, f'"{known_type} {name}" appears twice')
        if known_type in RATE_TYPES and self.is_distribution:
            self.problems.add(place, f"{known_type} needs a timeseries: it divides by its buckets")
        self._aggregations.add(aggregation)
        return aggregation

    def read_group_by(self, items: Sequence[object]) -> tuple[str, ...]:
        """The group-by fields; a duplicate is a problem (R18)."""
        read: dict[str, None] = {}
        for index, item in enumerate(items):
            place = f"groupBy[{index}]"
            name = self._read_dimension(place, item)
            if name in read:
                self.problems.add(place, f"{quote(item)} appears twice")
            if name is not None:
                read[name] = None
        return tuple(read)

    def _read_dimension(self, place: str, item: object) -> str | None:
        if not isinstance(item, str) or not item.startswith(METADATA_PREFIX):
            return self.problems.attempt(place, self._read_name, "groupBy", item)
        if item == METADATA_PREFIX:
            self.problems.add(place, 'the key is missing. Give "metadata.<key>"')
        elif not is_text(item):
            self.problems.add(place, f"{quote(item)} contains characters that cannot be sent")
        return item

    def _read_name(self, kind: AliasKind, value: object) -> str:
        """The gateway's spelling of a column or dimension.

        Raises:
            ValueError: with a message for the user, if it is unknown.
        """
        if not isinstance(value, str) or not value or not is_text(value):
            raise ValueError(f"expected a name, got {json_type(value)}")
        name = self.catalog.canonical(kind, value)
        fields = self._fields
        if fields is None:
            return name
        known = fields.columns if kind == "columns" else fields.group_by
        if name in known or self._allow_unknown:
            return name
        what = "column" if kind == "columns" else "group-by field"
        names = list(known) if kind == "columns" else [*known, "metadata.<key>"]
        choice = did_you_mean(value, names)
        # Unlisted names may well be metadata keys, which people write without the prefix.
        is_key = re.fullmatch(_METADATA_KEY, value) and not closest_matches(value, names)
        if kind != "columns" and is_key:
            choice = f"{choice}. If it is a metadata key, give {METADATA_PREFIX}{value}"
        choice = f"{self._explain_place(kind, name, fields)}{choice}"
        raise ValueError(f"{quote(value)} is not a {what} of {self.datasource}. {choice}")

    def _explain_place(self, kind: AliasKind, name: str, datasource: Datasource) -> str:
        """Where a misplaced name would be valid: another datasource, or group-by."""
        if kind == "columns" and name in datasource.group_by:
            return f"{name} is a group-by field: grouped by it, an answer has one row per value. "
        others = [
            other
            for other, fields in self.catalog.datasources.items()
            if name in (fields.columns if kind == "columns" else fields.group_by)
        ]
        return f"{name} is one of {' and '.join(others)}. " if others else ""

    def _check_keys(self, item: Mapping[Any, object], known: Sequence[str], place: str) -> None:
        for key in item:
            if key not in known:
                self.problems.add(f"{place}.{key}", f"unknown key. {did_you_mean(str(key), known)}")

    # --- filters ---

    def read_filters(self, items: Sequence[object]) -> tuple[Filter, ...]:
        """The filters in objects `{"fieldName", "operator", "value"}`."""
        read = [self._read_filter(f"filters[{index}]", item) for index, item in enumerate(items)]
        return tuple(filter_ for filter_ in read if filter_ is not None)

    def _read_filter(self, place: str, item: object) -> Filter | None:
        if not isinstance(item, Mapping):
            wrong = f'expected {{"fieldName", "operator", "value"}}, got {quote(item)}'
            self.problems.add(place, wrong)
            return None
        self._check_keys(item, _FILTER_KEYS, place)
        name = self.problems.attempt(place, self._read_filter_name, item, place)
        field = None
        if name is not None and self.datasource is not None:
            field = self.catalog.filter_field(self.datasource, name)
            if field is None and not self._allow_unknown:
                names = [*self.catalog.datasources[self.datasource].filters, "metadata.<key>"]
                wrong = f"{quote(name)} is not a filter of {self.datasource}"
                self.problems.add(f"{place}.fieldName", f"{wrong}. {did_you_mean(name, names)}")
                name = None
        operator = self._read_operator(item.get("operator"), name, field, f"{place}.operator")
        if operator is None:
            return None
        value = item.get("value")
        if self._reads_text and value is not None:
            value = _respell(value, operator, field)
        place = f"{place}.value"
        value = self.problems.attempt(place, _read_value, value, operator, field, place)
        if name is None or value is None:
            return None
        return Filter(field_name=name, operator=operator, value=value)

    def _read_filter_name(self, item: Mapping[str, object], place: str) -> str:
        """The gateway's spelling of the field, `metadata.<key>` for a key.

        Raises:
            ValueError: with a message for the user; InvalidQueryError if it is one key's problem.
        """
        name, key = item.get("fieldName"), item.get("metadataKey")
        if (name is None) == (key is None):
            raise ValueError(
                "give fieldName, or metadataKey for a key of the metadata (one of the two)"
            )
        if key is not None:
            if isinstance(key, str) and key and is_text(key):
                return METADATA_PREFIX + key
            wrong = f"expected the name of a metadata key, got {quote(key)}"
            raise InvalidQueryError([Problem(f"{place}.metadataKey", wrong)])
        if isinstance(name, str) and name not in ("", METADATA_PREFIX) and is_text(name):
            return self.catalog.canonical("filters", name)
        wrong = f"expected a name, got {quote(name)}"
        raise InvalidQueryError([Problem(f"{place}.fieldName", wrong)])

    def _read_operator(
        self, value: object, name: str | None, field: FilterField | None, place: str
    ) -> Operator | None:
        """The operator; None if it is unknown.

        An operator that the field does not take is a problem, but still returned, so that the
        value is checked in the same pass.
        """
        allowed = OPERATORS if field is None else field.allowed
        operator = next((known for known in OPERATORS if known == value), None)
        if operator in allowed:
            return operator
        if operator is not None:
            wrong = f"{operator} is not allowed on {name}"
        else:
            wrong = "missing" if value is None else f"{quote(value)} is unknown"
        self.problems.add(place, f"{wrong}. {did_you_mean(str(value or ''), allowed)}")
        return operator


def _read_value(
    value: object, operator: Operator, field: FilterField | None, place: str
) -> FilterValue:
    """The value in the operator's shape: a scalar, a tuple, or a boolean for IS_NULL.

    Raises:
        ValueError: with a message for the user.
        InvalidQueryError: with the problems of a list's entries, at their places.
    """
    type_ = None if field is None else field.type
    if value is None:
        raise ValueError("missing")
    if operator == "IS_NULL":
        if not isinstance(value, bool):
            raise ValueError(
                f"IS_NULL takes true (is null) or false (is not null), got {quote(value)}"
            )
        return value
    if operator == "BETWEEN":
        return _read_range(value, type_, place)
    if operator in LIST_OPERATORS:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"{operator} takes a list of at least one value, got {quote(value)}")
        return _read_items(value, type_, place)
    if not isinstance(value, list | tuple):
        return _read_scalar(value, type_)
    # Not every field takes IN.
    several = ". For several use IN" if field is None or "IN" in field.allowed else ""
    raise ValueError(f"{operator} takes one value, got {quote(value)}{several}")


def _read_range(value: object, type_: FieldType | None, place: str) -> tuple[Scalar, ...]:
    """`[low, high]`, both ends included; low above high is a problem (R11)."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"BETWEEN takes a list of two, [low, high], got {quote(value)}")
    low, high = _read_items(value, type_, place)
    # Without a known type the ends may differ, and Python cannot compare text with numbers.
    if isinstance(low, str) is not isinstance(high, str):
        raise ValueError(f"low and high are of different types: {quote(value)}")
    if low > high:  # type: ignore[operator]  # both text or both numbers, checked above
        raise ValueError(f"low {quote(low)} is above high {quote(high)}: give [low, high]")
    return low, high


def _read_items(
    values: Sequence[object], type_: FieldType | None, place: str
) -> tuple[Scalar, ...]:
    problems = Problems()
    items = [
        problems.attempt(f"{place}[{index}]", _read_scalar, value, type_)
        for index, value in enumerate(values)
    ]
    if problems:
        raise InvalidQueryError(problems)
    return tuple(cast("list[Scalar]", items))


def _read_scalar(value: object, type_: FieldType | None) -> Scalar:
    if not _fits(value, type_):
        raise ValueError(f"expected {_EXPECTED[type_]}, got {quote(value)}")
    return cast("Scalar", value)


def _fits(value: object, type_: FieldType | None) -> bool:
    if isinstance(value, bool):  # first, because True is an int in Python
        return type_ in ("boolean", None)
    if isinstance(value, str):
        return type_ in ("string", "array", None) and is_text(value)
    if isinstance(value, int):
        return type_ in ("number", None) and abs(value) <= _LARGEST_INTEGER
    return isinstance(value, float) and math.isfinite(value) and type_ in ("number", None)


def _respell(value: object, operator: Operator, field: FilterField | None) -> object:
    """A tool's filter value in the API's shape; unchanged if it cannot be converted.

    The tools publish a value as a list of text, the form that every model gets right.
    """
    type_ = "boolean" if operator == "IS_NULL" else None if field is None else field.type
    parsed = parse_json(value)
    items = parsed if isinstance(parsed, list | tuple) else [value]
    values = [_respell_scalar(item, type_) for item in items]
    is_list = operator in (*LIST_OPERATORS, "BETWEEN")
    return values if is_list or len(values) != 1 else values[0]


def _respell_scalar(value: object, type_: FieldType | None) -> object:
    """Text as a number or boolean if the field is one, and the reverse for a text field."""
    if type_ == "number" and isinstance(value, str):
        return parse_number(value)
    if type_ == "boolean" and isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), value)
    if type_ in ("string", "array"):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
    return value
