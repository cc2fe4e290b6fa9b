"""Validates the parts of a query against the catalog, and the sizes of what a client sends.

Request bodies and tool arguments share these checks; their own readers take them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from gateway_metrics_mcp.errors import (
    Fix,
    InvalidQueryError,
    MisspeltError,
    Problem,
    Problems,
    quote,
)
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
from gateway_metrics_mcp.query.suggestions import closest_matches, did_you_mean
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    DATASOURCES,
    LIST_OPERATORS,
    METADATA,
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
_BOOLEANS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
# Operators that say the same of one value; the first that a field takes is sent.
_SAME: Final[tuple[tuple[Operator, ...], ...]] = (
    ("IN", "ARRAY_HAS_ANY", "EQUAL"),
    ("NOT_IN", "ARRAY_HAS_NONE", "NOT_EQUAL"),
)
_ON_TEAMS: Final[dict[Operator, str]] = {
    "ARRAY_HAS_ANY": "callers who are also in other teams are included",
    "ARRAY_HAS_NONE": "callers without a team are included",
}
"""What the operators on a field with several values mean, where another one was asked."""
_JSON_TYPES: Final[dict[type, str]] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
}
_WHAT: Final[dict[AliasKind, str]] = {
    "columns": "column",
    "groupBy": "group-by field",
    "filters": "filter",
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


def read_datasource(value: object, problems: Problems) -> DatasourceName | None:
    """The datasource of a tool call; a misspelt one is a problem, and the rest read as it."""
    for known in DATASOURCES:
        if known == value:
            return known
    if not isinstance(value, str):
        return read_choice("datasource", value, DATASOURCES, problems)
    from gateway_metrics_mcp.query import spellings  # most calls spell it right

    name = spellings.read_name(value, DATASOURCES)
    meant = spellings.guess_datasource(value)
    if name is None:
        choice = did_you_mean(value, DATASOURCES, meant)
        rest = "" if meant is None else f". The rest is checked as {meant}"
        fix = None if meant is None else Fix((meant,))
        problems.add("datasource", f"{quote(value)} is unknown. {choice}{rest}", fix)
        return meant
    return next(known for known in DATASOURCES if known == name)


class QueryValidator:
    """Turns the parts of one query into types, with names in the gateway's spelling.

    Read the datasource first; `problems` grows in reading order (R18, R20). With `allow_unknown`,
    fields that the catalog lacks pass, and only the shape of their operators and values is
    checked. With `is_lenient`, as tools are, what has one meaning is taken in other spellings: a
    name in another case, an operator that the field has under another name, a value as text.
    """

    def __init__(
        self,
        catalog: Catalog,
        problems: Problems,
        *,
        allow_unknown: bool = False,
        is_lenient: bool = False,
    ) -> None:
        self.catalog = catalog
        self.problems = problems
        self.remarks: list[str] = []
        """What is sent in another sense than it was asked."""
        self.datasource: DatasourceName | None = None
        self.is_distribution = False
        """Whether rates are refused (R14); False while the query's type is unknown."""
        self._aggregations: set[Aggregation] = set()
        self._allow_unknown = allow_unknown
        self._is_lenient = is_lenient

    @property
    def _fields(self) -> Datasource | None:
        return None if self.datasource is None else self.catalog.datasources[self.datasource]

    @property
    def fields(self) -> Datasource:
        """The datasource's fields; it has been read."""
        assert self.datasource is not None  # noqa: S101 - for the type checker
        return self.catalog.datasources[self.datasource]

    def read_datasource(self, value: object) -> DatasourceName | None:
        """The datasource; it decides which names the other parts may use."""
        if self._is_lenient:
            self.datasource = read_datasource(value, self.problems)
        else:
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
        if self._is_lenient and isinstance(type_, str) and type_ not in AGGREGATION_TYPES:
            from gateway_metrics_mcp.query import spellings  # most calls spell it right

            type_ = spellings.read_function(type_) or type_
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
            self.problems.add(place, f'"{known_type} {name}" appears twice', Fix())
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
                self.problems.add(place, f"{quote(item)} appears twice", Fix())
            if name is not None:
                read[name] = None
        return tuple(read)

    def _read_dimension(self, place: str, item: object) -> str | None:
        item = self._respell_key(item)
        if not isinstance(item, str) or not item.startswith(METADATA_PREFIX):
            return self.problems.attempt(place, self._read_name, "groupBy", item)
        if item == METADATA_PREFIX:
            self.problems.add(place, 'the key is missing. Give "metadata.<key>"')
        elif not is_text(item):
            self.problems.add(place, f"{quote(item)} contains characters that cannot be sent")
        return item

    def find_limit(self, kind: AliasKind, name: str) -> Problem | None:
        """What cannot be known of a name that the datasource lacks; None if nothing is known."""
        from gateway_metrics_mcp.query import spellings  # likewise

        if self.datasource is None or name in self.fields.names(kind):
            return None
        # A catalog file can tell which MCP calls failed; the published API does not.
        has_failures = "toolCallErrorRate" in self.catalog.measures["mcpMetrics"]
        limit = spellings.find_limit(self.datasource, kind, name, has_mcp_failures=has_failures)
        if limit is None:
            return None
        if limit.elsewhere is None:
            return Problem(name, limit.text, Fix(has_answer=False))
        other = next(known for known in DATASOURCES if known == limit.elsewhere)
        meant = spellings.guess_field(name, self.catalog.datasources[other].names(kind))
        is_asked = kind != "columns" and meant is not None
        return Problem(name, limit.text, Fix((meant,), {"datasource": other}) if is_asked else None)

    def _respell_key(self, item: object) -> object:
        """`metadata.x` for `Metadata.x`; keys themselves differ by case."""
        if self._is_lenient and isinstance(item, str):
            prefix, dot, key = item.partition(".")
            if dot and prefix.lower() == METADATA:
                return METADATA_PREFIX + key
        return item

    def _read_name(self, kind: AliasKind, value: object) -> str:
        """The gateway's spelling of a column, dimension or filter field.

        Raises:
            ValueError: with a message for the user, if it is unknown.
        """
        if not isinstance(value, str) or not value or not is_text(value):
            raise ValueError(f"expected a name, got {json_type(value)}")
        name = self.catalog.canonical(kind, value)
        fields = self._fields
        if fields is None:
            return name
        known = fields.names(kind)
        if name in known:
            return name
        spelt = self.respell(kind, value)
        if spelt is not None or self._allow_unknown:
            return spelt or name
        raise self._explain_name(kind, value, name, fields)

    def respell(self, kind: AliasKind, value: str) -> str | None:
        """The gateway's spelling of a name in another case, or of `latency`; None without one."""
        if not self._is_lenient or self._fields is None:
            return None
        if value in self._fields.names(kind):
            return value
        from gateway_metrics_mcp.query import spellings  # most calls spell it right

        # A unit left out is only clear beside values that show theirs: not in `latency > 5`.
        has_units = kind == "columns" and not self._allow_unknown
        names = self._fields.names(kind)
        aliases = [alias for alias, of in self.catalog.aliases[kind].items() if of in names]
        spelt = spellings.read_name(value, names, without_unit=has_units)
        spelt = spelt or spellings.read_name(value, aliases)
        return None if spelt is None else self.catalog.canonical(kind, spelt)

    def _explain_name(
        self, kind: AliasKind, value: str, name: str, fields: Datasource
    ) -> MisspeltError:
        """Why a name is none here, and what it was probably meant to be."""
        from gateway_metrics_mcp.query import spellings  # likewise

        names = [*fields.names(kind), *([] if kind == "columns" else ["metadata.<key>"])]
        wrong = f"{quote(value)} is not a {_WHAT[kind]} of {self.datasource}"
        if self._is_lenient and self.datasource is not None:
            limit = self.find_limit(kind, name)
            if limit is not None:
                listed = f"Allowed: {', '.join(names)}"
                return MisspeltError(f"{wrong}. {limit.message}. {listed}", limit.fix)
            bucket = None if kind == "columns" else spellings.guess_interval(value)
            if bucket is not None and kind == "groupBy":
                tool = "query_timeseries has a row per bucket: give it"
                where = tool if self.is_distribution else "A bucket of time is a row already: give"
                return MisspeltError(
                    f'{wrong}. {where} interval "{bucket}"',
                    Fix(adds={"interval": bucket}),
                )
            if bucket is not None:
                return MisspeltError(f"{wrong}. Time is given as startTs and endTs")
        place = self._explain_place(kind, name, fields)
        meant = None if place else spellings.guess_field(value, names)
        if kind == "columns" and not place:
            columns = spellings.guess_columns(value, fields.columns)
            if len(columns) > 1:
                choice = did_you_mean(value, names, " and ".join(columns))
                return MisspeltError(f"{wrong}. {choice}")
            meant = next(iter(columns), None)
        is_key = meant is not None and meant.startswith(METADATA_PREFIX)
        # What was found by likeness may have others beside it.
        is_near = meant in closest_matches(value, names)[:1]
        choice = did_you_mean(value, names, None if is_near else meant)
        if is_key:
            choice = choice.replace("?", " (a metadata key)?", 1)
        return MisspeltError(f"{wrong}. {place}{choice}", None if meant is None else Fix((meant,)))

    def _explain_place(self, kind: AliasKind, name: str, datasource: Datasource) -> str:
        """Where a misplaced name would be valid: another datasource, or another argument."""
        if kind == "columns" and name in datasource.group_by:
            return f"{name} is a group-by field: grouped by it, an answer has one row per value. "
        if kind == "groupBy" and self.catalog.canonical("filters", name) in datasource.filters:
            use = "aggregated and filtered" if name in datasource.columns else "filtered"
            here = f"{name} can be {use} but not grouped. "
        elif kind == "filters" and name in datasource.group_by:
            here = f"{name} can be grouped but not filtered. "
        else:
            here = ""
        others = [
            other
            for other, fields in self.catalog.datasources.items()
            if name in fields.names(kind)
        ]
        return here + (f"{name} is one of {' and '.join(others)}. " if others else "")

    def _check_keys(self, item: Mapping[Any, object], known: Sequence[str], place: str) -> None:
        for key in item:
            if key not in known:
                self.problems.add(f"{place}.{key}", f"unknown key. {did_you_mean(str(key), known)}")

    # --- filters ---

    def read_filters(self, items: Sequence[object]) -> tuple[Filter, ...]:
        """The filters in objects `{"fieldName", "operator", "value"}`."""
        return tuple(
            filter_
            for index, item in enumerate(items)
            for filter_ in self._read_entry(f"filters[{index}]", item)
        )

    def _read_entry(self, place: str, item: object) -> Iterator[Filter]:
        """The filter of an entry; one in another form is a problem, and still checked."""
        meant: Sequence[Mapping[str, object]] = ()
        if self._is_lenient and not _has_form(item):
            from gateway_metrics_mcp.query import spellings  # most calls have the right form

            meant = spellings.guess_filters(item)
        if meant or not isinstance(item, Mapping):
            wrong = f'expected {{"fieldName", "operator", "value"}}, got {quote(item)}'
            self.problems.add(place, wrong, Fix((*meant,)) if meant else None)
        else:
            self._check_keys(item, _FILTER_KEYS, place)
            meant = [item]
        for one in meant:
            yield from self._read_filter(place, one)

    def _read_filter(self, place: str, item: Mapping[str, object]) -> Iterator[Filter]:
        name = self.problems.attempt(place, self._read_filter_name, item, place)
        field = None
        if name is not None and self.datasource is not None:
            field = self.catalog.filter_field(self.datasource, name)
        operator, value = self._read_operator(item, name, field, f"{place}.operator")
        if operator is None:
            return
        place = f"{place}.value"
        sent = [(operator, value)]
        if self._is_lenient and value is not None:
            sent = _fit(operator, _respell(value, operator, field), field)
        for operator, part in sent:
            read = self.problems.attempt(place, _read_value, part, operator, field, place)
            if name is not None and read is not None:
                yield Filter(field_name=name, operator=operator, value=read)

    def _read_filter_name(self, item: Mapping[str, object], place: str) -> str | None:
        """The gateway's spelling of the field, `metadata.<key>` for a key.

        Raises:
            ValueError: with a message for the user; InvalidQueryError if it is one key's problem.
        """
        name, key = item.get("fieldName"), item.get("metadataKey")
        if self._is_lenient:
            name, key = (None if given == "" else given for given in (name, key))
        if (name is None) == (key is None):
            raise ValueError(
                "give fieldName, or metadataKey for a key of the metadata (one of the two)"
            )
        if key is not None:
            if isinstance(key, str) and key and is_text(key):
                return METADATA_PREFIX + key
            wrong = f"expected the name of a metadata key, got {quote(key)}"
            raise InvalidQueryError([Problem(f"{place}.metadataKey", wrong)])
        name = self._respell_key(name)
        if isinstance(name, str) and name not in ("", METADATA_PREFIX) and is_text(name):
            if name.startswith(METADATA_PREFIX):
                return name
            return self.problems.attempt(f"{place}.fieldName", self._read_name, "filters", name)
        wrong = f"expected a name, got {quote(name)}"
        raise InvalidQueryError([Problem(f"{place}.fieldName", wrong)])

    def _read_operator(
        self, item: Mapping[str, object], name: str | None, field: FilterField | None, place: str
    ) -> tuple[Operator | None, object]:
        """The operator, None if it is unknown, and the value that goes with it.

        An operator that the field does not take is a problem, but still returned, so that the
        value is checked in the same pass.
        """
        given, value = item.get("operator"), item.get("value")
        if self._is_lenient and given == "":
            given = None
        operator: Operator | None = next((known for known in OPERATORS if known == given), None)
        if self._is_lenient:
            operator, value = _respell_operator(given, operator, value)
        allowed = OPERATORS if field is None else field.allowed
        if operator in allowed:
            return operator, value
        meant = self._find_counterpart(operator, value, field)
        if meant is not None and operator is not None:
            self._remark(name, operator, meant)
            return operator, value
        if operator is not None:
            wrong = f"{operator} is not allowed on {name}"
        else:
            wrong = "missing" if given is None else f"{quote(given)} is unknown"
        entries: tuple[object, ...] = () if meant is None else (meant,)
        if given is not None and (operator is None or meant is None):
            from gateway_metrics_mcp.query import spellings  # most calls spell it right

            entries = spellings.guess_operator(str(given), value, allowed)
        said = " ".join([str(entries[0]), *map(quote, entries[1:])]) if entries else ""
        choice = f"Did you mean {said}? " if said else ""
        fix = Fix(entries) if entries else None
        self.problems.add(place, f"{wrong}. {choice}Allowed: {', '.join(allowed)}", fix)
        return operator, value

    def _find_counterpart(
        self, operator: Operator | None, value: object, field: FilterField | None
    ) -> Operator | None:
        """The operator that says the same on a field that does not take the given one."""
        if not self._is_lenient or field is None:
            return None
        sent = _fit(operator or "EQUAL", _respell(value, "IN", field), field)[0][0]
        return sent if sent in field.allowed else None

    def _remark(self, name: str | None, asked: Operator, sent: Operator) -> None:
        """Note a filter that is sent as one of another meaning."""
        # IN and ARRAY_HAS_ANY say the same of a field with several values.
        if sent in _ON_TEAMS:
            self.remarks.append(f"{name} {asked} was sent as {sent}: {_ON_TEAMS[sent]}")


def _respell_operator(
    given: object, operator: Operator | None, value: object
) -> tuple[Operator | None, object]:
    """A tool's operator in its published spelling, and the value that goes with it."""
    if operator is None and isinstance(given, str):
        from gateway_metrics_mcp.query import spellings  # most calls spell it right

        operator, is_negated = spellings.read_operator(given)
        if is_negated and value in (None, "", [], True, "true", ["true"]):
            return operator, False
    if operator == "IS_NULL" and value in (None, "", []):
        return operator, True
    return operator, value


def _has_form(item: object) -> bool:
    """Whether a filter has the names of its parts, at least."""
    return (
        isinstance(item, Mapping)
        and bool({"fieldName", "metadataKey"} & set(item))
        and ("value" in item or set(item) <= set(_FILTER_KEYS))
    )


def _fit(
    operator: Operator, value: object, field: FilterField | None
) -> list[tuple[Operator, object]]:
    """The filters to send for an operator, which the field may have under another name only.

    The operator unchanged if the field takes it, or none that says the same.
    """
    if field is None:
        return [(operator, value)]
    values = [*value] if isinstance(value, list | tuple) else [value]
    is_one = len(values) == 1
    takes_several = operator in ("EQUAL", "NOT_EQUAL") and not is_one and field.type != "array"
    if operator in field.allowed and not (takes_several and value != []):
        return [(operator, value)]
    for same in _SAME:
        for other in same if operator in same else ():
            if other in field.allowed and (other in LIST_OPERATORS or is_one):
                if field.type == "array" and operator in ("EQUAL", "NOT_EQUAL") and not is_one:
                    break  # all of them, or any of them
                return [(other, values if other in LIST_OPERATORS else values[0])]
    if operator in _SAME[0] and is_one and "BETWEEN" in field.allowed:
        return [("BETWEEN", [values[0], values[0]])]
    if operator in _SAME[1] and field.type == "boolean" and isinstance(values[0], bool) and is_one:
        return [("EQUAL", not values[0])]
    ends: tuple[Operator, Operator] = ("GREATER_THAN_EQUAL", "LESS_THAN_EQUAL")
    if operator == "BETWEEN" and len(values) == 2 and set(ends) <= set(field.allowed):
        return [*zip(ends, values, strict=True)]
    return [(operator, value)]


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
    if type_ == "boolean" and value in (0, 1) and not isinstance(value, bool):
        return value == 1
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
