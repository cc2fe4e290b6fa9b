"""Validates the query tools' arguments as a ReportRequest, or lists every problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import permutations
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.errors import Fix, InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import (
    Aggregation,
    Catalog,
    Datasource,
    Filter,
    Interval,
    Query,
    Window,
    did_you_mean,
    quote,
)
from gateway_metrics_mcp.query.scope import (
    FIELD,
    VIRTUAL,
    VIRTUAL_ROWS,
    apply_scope,
    is_scope,
)
from gateway_metrics_mcp.query.suggestions import fold
from gateway_metrics_mcp.query.time.comparison import cut_to_elapsed, read_earlier
from gateway_metrics_mcp.query.time.interval import (
    LocalBuckets,
    choose_interval,
    find_interval,
    localise,
    read_interval,
)
from gateway_metrics_mcp.query.time.window import read_window
from gateway_metrics_mcp.query.validation import QueryValidator
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES, NEGATIVE_OPERATORS
from gateway_metrics_mcp.reports.arguments import (
    DistributionArguments,
    Format,
    ListValuesArguments,
    QueryArguments,
    TimeseriesArguments,
    apply_fixes,
    read_arguments,
)
from gateway_metrics_mcp.reports.columns import (
    Source,
    Value,
    compared,
    list_aggregations,
    list_values,
    read_sources,
    split_aggregation,
    strip_unit,
)

MOST_POINTS: Final = 5_000
"""The most points, buckets times groups, of a timeseries; more are refused before querying."""

_GROUP_OF: Final = {"userEmail": "userEmail", "virtualAccount": "virtualaccount"}
"""The filters on subjects, each with the group-by field of the same kind."""
_BOTH_SUBJECTS: Final = ("userEmail", "virtualaccount")
_SHARED_COLUMN: Final = frozenset(
    (*map("/".join, permutations(_BOTH_SUBJECTS)), "createdBySubjectSlug")
)
"""Names of the column that users and virtual accounts share: ours, and the gateway's."""
_WHOLE_VALUES: Final = frozenset(("EQUAL", "NOT_EQUAL", "IN", "NOT_IN"))


class ParserOptions(NamedTuple):
    """The catalog and the settings that arguments are read with."""

    catalog: Catalog
    default_zone: str = "UTC"
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One tool call, validated: the query, and how to show its answer.

    The query has all aggregations that `values` and the notes need.
    """

    query: Query
    datasource: Datasource
    window: Window
    scope: str | None
    """Which side of virtual models is queried; None if the datasource has none."""
    format: Format
    values: tuple[Value, ...]
    """`total`, then the requested values in order."""
    earlier: Window | None = None
    """The window to compare with; None without `compareTo`."""
    scope_filter: Filter | None = None
    """The query's last filter, if it was added for the scope rather than requested."""
    local: LocalBuckets | None = None
    """The buckets, if they are a zone's days or hours rather than the query's interval."""
    is_interval_ours: bool = False
    """Whether the interval is our default, which may be widened; a requested one may not."""
    order_by: str | None = None
    """A column of the answer to sort by; None for the first value, or its change."""
    is_descending: bool = True
    remarks: tuple[str, ...] = ()
    """What was sent in another sense than it was asked."""
    limit: int | None = None
    offset: int = 0

    @property
    def buckets(self) -> Interval | None:
        """The buckets: the zone's, or the query's interval; None in a distribution."""
        return self.local or self.query.interval

    @property
    def windows(self) -> tuple[bool, ...]:
        """One `is_before` flag per window: False for the current one, True for the earlier."""
        return (False,) if self.earlier is None else (False, True)

    @property
    def shown_filters(self) -> list[Filter]:
        """The filters, without the one that `scope` states."""
        return [f for f in self.query.filters if self.scope is None or not is_scope(f)]

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the key columns: the gateway's, or its arguments' where it has none."""
        return tuple(_name_keys(self.query.group_by, self.datasource).values())

    @property
    def counted(self) -> str:
        """What a row counts; a virtual model's row stands for all attempts under it."""
        rows = self.datasource.rows
        # `MCP requests of all methods` is no longer true once a filter is set.
        if any(f.field_name != FIELD for f in self.query.filters):
            rows = rows.partition(" of all ")[0]
        if self.scope != VIRTUAL:
            return rows
        return VIRTUAL_ROWS + rows.removeprefix("model calls").partition(",")[0]


def read_distribution(
    raw: Mapping[str, Any], options: ParserOptions, now: datetime
) -> ReportRequest:
    """The request that the arguments of `query_distribution` describe.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems = Problems()
    arguments = read_arguments(DistributionArguments, raw, problems)
    window = read_times(arguments, options, now, problems)
    earlier = None
    if window is not None and arguments.compare_to is not None:
        earlier = problems.attempt("compareTo", read_earlier, arguments.compare_to, window, now=now)
    if window is not None and earlier is not None:
        earlier = cut_to_elapsed(window, earlier)
    request = _read_request(arguments, options, window, problems, earlier=earlier)
    if request is None or problems:
        raise InvalidQueryError(problems)
    return replace(request, limit=arguments.limit, offset=arguments.offset)


def read_timeseries(raw: Mapping[str, Any], options: ParserOptions, now: datetime) -> ReportRequest:
    """The request that the arguments of `query_timeseries` describe.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems = Problems()
    arguments = read_arguments(TimeseriesArguments, raw, problems)
    window = read_times(arguments, options, now, problems)
    request = _read_request(arguments, options, window, problems)
    # Of a grouped question the groups are counted first: an interval is proposed that fits them.
    if request is not None and not request.query.group_by:
        _check_buckets(request.query, problems)
    if request is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        request,
        limit=arguments.limit,
        local=localise(request.query.interval, request.window.zone),
        is_interval_ours=not arguments.interval,
    )


def read_times(
    arguments: QueryArguments | ListValuesArguments,
    options: ParserOptions,
    now: datetime,
    problems: Problems,
) -> Window | None:
    """The window of `startTs`, `endTs` and `timezone`; None after adding a problem."""
    return problems.attempt(
        "startTs",
        read_window,
        arguments.start_ts,
        arguments.end_ts,
        arguments.timezone,
        now=now,
        default_zone=options.default_zone,
    )


def _read_request(
    arguments: QueryArguments,
    options: ParserOptions,
    window: Window | None,
    problems: Problems,
    *,
    earlier: Window | None = None,
) -> ReportRequest | None:
    """The request without limit and offset; None after adding problems.

    The rest is checked even without a window, so that one refusal lists all problems (R20).
    """
    found = len(problems)
    parts = _make_validator(options, problems)
    name = parts.read_datasource(arguments.datasource)
    parts.is_distribution = not isinstance(arguments, TimeseriesArguments)
    interval = _read_interval(arguments, window, problems)
    sources = read_sources(arguments.aggregations, parts)
    group_by = parts.read_group_by(_spread_subjects(arguments.group_by))
    filters = parts.read_filters(arguments.filters)
    # Only of valid parts: after a misspelt field the check would report what it caused.
    if len(problems) == found:
        problems += _check_subjects(group_by, filters)
    if name is None:
        return None
    datasource = options.catalog.datasources[name]
    if len(problems) > found:
        sources, group_by = _guess_columns(arguments, parts, options)
    values = list_values(sources, datasource)
    order = _read_order(arguments, group_by, values, datasource, problems)
    if len(problems) > found or window is None:
        return None
    query = Query(
        datasource=name,
        type="distribution" if parts.is_distribution else "timeseries",
        start_ts=window.start,
        end_ts=window.end,
        aggregations=list_aggregations(values, datasource, is_compared=earlier is not None),
        group_by=group_by,
        filters=filters,
        interval=interval,
    )
    request = _scope_request(query, datasource, window, arguments.format, values)
    return replace(
        request,
        earlier=earlier,
        order_by=order[0],
        is_descending=order[1],
        remarks=tuple(parts.remarks),
    )


def _make_validator(options: ParserOptions, problems: Problems) -> QueryValidator:
    return QueryValidator(
        options.catalog, problems, allow_unknown=options.allow_unknown, is_lenient=True
    )


def _guess_columns(
    arguments: QueryArguments, parts: QueryValidator, options: ParserOptions
) -> tuple[list[Source], tuple[str, ...]]:
    """The values and keys that were probably meant: an order is checked against them."""
    given = {"aggregations": arguments.aggregations, "groupBy": arguments.group_by}
    fixed = apply_fixes(parts.problems, given)
    guessed = _make_validator(options, Problems())
    guessed.datasource, guessed.is_distribution = parts.datasource, parts.is_distribution
    sources = read_sources(fixed["aggregations"], guessed)
    return sources, guessed.read_group_by(_spread_subjects(fixed["groupBy"]))


def _scope_request(
    query: Query,
    datasource: Datasource,
    window: Window,
    format_: Format,
    values: tuple[Value, ...],
) -> ReportRequest:
    """The request, limited to one side of virtual models where the datasource has them."""
    scoped = apply_scope(query, datasource)
    return ReportRequest(
        scoped.query,
        datasource,
        window,
        scoped.phrase,
        format_,
        values,
        scope_filter=scoped.added,
    )


def _read_interval(
    arguments: QueryArguments, window: Window | None, problems: Problems
) -> Interval | None:
    """The requested interval, or a default with at most about 60 buckets."""
    if not isinstance(arguments, TimeseriesArguments):
        return None
    if arguments.interval:
        return problems.attempt("interval", read_interval, arguments.interval)
    return None if window is None else choose_interval(window.start, window.end)


def _check_buckets(query: Query, problems: Problems) -> None:
    """Refuse too many buckets before any query, suggesting an interval that fits."""
    if query.interval is None:
        return
    count = query.interval.count_buckets(query.start_ts, query.end_ts)
    if count > MOST_POINTS:
        better = find_interval(query.start_ts, query.end_ts, MOST_POINTS)
        problems.add(
            "interval",
            f"{query.interval} would give {count} buckets, the limit is {MOST_POINTS}."
            f" Use {better}, or a shorter window",
        )


def _check_subjects(group_by: Sequence[str], filters: Sequence[Filter]) -> list[Problem]:
    """Problems with filters on subjects that would match nothing, which looks like no traffic."""
    problems = Problems()
    positive = {f.field_name for f in filters if f.operator not in NEGATIVE_OPERATORS}
    if positive >= _GROUP_OF.keys():
        problems.add(
            "filters",
            "userEmail and virtualAccount together match nothing: a subject is a user or a virtual"
            " account. Ask each alone, or group by userEmail and virtualaccount and filter"
            " createdBySubjectType",
        )
    kinds = [field for field in _GROUP_OF.values() if field in group_by]
    for index, one in enumerate(filters):
        # Grouping by one kind of subject excludes the other (R7).
        fits = _GROUP_OF.get(one.field_name)
        is_other = fits is not None and len(kinds) == 1 and fits not in kinds
        if is_other and one.operator not in NEGATIVE_OPERATORS:
            problems.add(
                f"filters[{index}]",
                f"{one.field_name} matches nothing in groups by {kinds[0]}: group by {fits}",
            )
    for index, one in enumerate(filters):
        # An answer can print a domain that all addresses share once, and each address up to `@`.
        if one.field_name in _GROUP_OF and one.operator in _WHOLE_VALUES:
            cut = [quote(text) for text in one.texts if text.endswith("@")]
            if cut:
                problems.add(
                    f"filters[{index}].value",
                    f"{', '.join(cut)} lacks the domain, which a `# ` line of the answer gives",
                )
    return problems


def _name_keys(group_by: Sequence[str], datasource: Datasource) -> dict[str, str]:
    """By response key, the name of its column: one that can be given back as an argument.

    Users and virtual accounts share a key that no argument takes (R7).
    """
    names: dict[str, str] = {}
    for field in group_by:
        key = datasource.response_key(field)
        name = key if key in datasource.group_by or key in datasource.filters else field
        names[key] = f"{names[key]}/{name}" if key in names else name
    return names


def _spread_subjects(fields: Sequence[object]) -> list[object]:
    """The fields, with the column that users and virtual accounts share as both of them."""
    spread: list[object] = []
    for field in fields:
        is_shared = isinstance(field, str) and field in _SHARED_COLUMN
        spread += _BOTH_SUBJECTS if is_shared else [field]
    return spread


def _read_order(
    arguments: QueryArguments,
    group_by: Sequence[str],
    values: Sequence[Value],
    datasource: Datasource,
    problems: Problems,
) -> tuple[str | None, bool]:
    """The column to sort by, and whether descending; `-column` is ascending."""
    if not isinstance(arguments, DistributionArguments) or arguments.order_by is None:
        return None, True
    given: object = arguments.order_by
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if arguments.compare_to is not None:
        values = [column for value in values for column in compared(value)]
    keys = _name_keys(group_by, datasource)
    columns = (*keys.values(), *(value.name for value in values))
    if not isinstance(given, str) or not given.strip():
        wrong = f"unknown column {quote(given)}. Allowed: {', '.join(columns)}"
        problems.add("orderBy", wrong, _guess_order(given))
        return None, True
    wanted, is_descending = _split_direction(given)
    wanted = strip_unit(wanted)
    # A key by the gateway's name too, and by that of its filter.
    filtered = {f: keys.get(datasource.response_key(g)) for f, g in _GROUP_OF.items()}
    of_key = keys.get(datasource.response_key(wanted), keys.get(wanted, filtered.get(wanted)))
    for name in (wanted, of_key):
        if name in columns:
            return name, is_descending
    from gateway_metrics_mcp.query import spellings  # most calls spell it right

    sign = "" if is_descending else "-"
    found, meant = spellings.find_column(wanted, columns)
    if found is not None:
        return found, is_descending
    choice = did_you_mean(wanted, columns, meant)
    fix = None if meant is None else Fix((sign + meant,))
    asked = _ask_order(wanted, datasource)
    if asked is not None:
        fix = Fix((sign + asked.key,), {"aggregations": str(asked)})
        choice = f"It is a column if {asked} is one of the aggregations. {choice}"
    problems.add("orderBy", f"unknown column {quote(wanted)}. {choice}", fix)
    return None, True


_ORDER_KEYS: Final = ("by", "column", "direction", "field", "key", "name", "order", "orderby")
_DIRECTION: Final = r"(?i)([+-]?)\s*(.*?)(?:\s*[\s:,]\s*(asc|desc)(?:ending)?)?\s*"


def _split_direction(text: str) -> tuple[str, bool]:
    """The column, and whether descending, of `-total`, `total asc` and `total DESC`."""
    match = re.fullmatch(_DIRECTION, text.strip())
    if match is None:
        return text.strip(), True
    word = (match[3] or "").lower()
    return match[2].strip(), match[1] != "-" if not word else word == "desc"


def _ask_order(wanted: str, datasource: Datasource) -> Aggregation | None:
    """The aggregation that an order names or means, although it was not asked for."""
    from gateway_metrics_mcp.query import spellings  # only for an unknown order

    type_, column = split_aggregation(wanted)
    meaning = spellings.guess_meaning(wanted)
    if meaning is not None and len(meaning.columns) == 1:
        type_, column = meaning.function, meaning.columns[0]
    known = datasource.columns.get(column or "")
    function = next((f for f in AGGREGATION_TYPES if f == type_), None)
    if known is None or column is None or function not in known.aggregations:
        return None
    return Aggregation(type=function, column=column)


def _guess_order(given: object) -> Fix | None:
    """`sumCostInUSD desc` for `{"column": "sumCostInUSD", "direction": "desc"}`."""
    if not isinstance(given, Mapping):
        return None
    words = [str(word) for pair in given.items() for word in pair]
    words = [word for word in words if fold(word) not in _ORDER_KEYS]
    return Fix((" ".join(words),)) if words else None
