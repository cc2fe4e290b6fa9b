"""An answer as a reader has it, and what the rows of its case say: both without the product."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from tests.reference import evaluator
from tests.truth.cases import Case, Condition, Row

from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Aggregation, Filter, Query
from gateway_metrics_mcp.query.time.interval import Interval

_INSTANT: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z"
_WINDOW: Final = rf"({_INSTANT}) to ({_INSTANT}) "
Window = tuple[datetime, datetime]
Keys = tuple[Any, ...]
Number = int | float
MEASURES: Final = ("errorRate", "costPerRequest", "costPerMillionTokens", "tokensPerRequest")
MEASURES_OF_VALUES: Final = {
    "cacheHitRate": ("CacheLookupStatus", {"hit", "hits"}),
    "guardrailBlockRate": ("GuardrailResult", {"fail", "failed", "block", "blocked"}),
    "guardrailErrorRate": ("GuardrailResult", {"error", "errored"}),
    "ruleFailureRate": ("Status", {"fail", "failed", "failure", "block", "blocked"}),
}
SUBJECTS: Final = {"userEmail": "user", "virtualaccount": "virtualaccount"}


def read_instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass
class Answer:
    """A text of a tool, in parts."""

    text: str
    header: str
    lines: list[str]
    """What stands beside the figures, without its mark."""
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)
    """Title, headings and rows."""
    pairs: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    """Of a JSON answer."""
    subtitle: list[str] = field(default_factory=list)
    """Of the picture in the view."""

    @cached_property
    def parts(self) -> list[str]:
        return self.header.split(" | ")

    @property
    def is_without_window(self) -> bool:
        """Whether the request was too long to be repeated."""
        return bool(self.body) and self.body["request"] is None

    @cached_property
    def windows(self) -> list[Window]:
        """The window, and the earlier one of a comparison, as the answer states them."""
        if self.body:
            request, earlier = self.body["request"], self.body.get("comparedWith")
            spans = [request, *([earlier] if earlier else [])]
            return [(read_instant(s["startTs"]), read_instant(s["endTs"])) for s in spans]
        found = re.findall(_WINDOW, " | ".join(self.parts[:3]))
        return [(read_instant(start), read_instant(end)) for start, end in found]


def read_answer(text: str) -> Answer:
    """The parts of a text, which is a table's or JSON."""
    if text.startswith("{"):
        body = json.loads(text)
        return Answer(text, "", list(body["notes"]), body=body)
    first, *rest = text.split("\n")
    answer = Answer(text, first.removeprefix("# "), [])
    title, is_table = "", False
    for number, line in enumerate(rest):
        following = rest[number + 1] if number + 1 < len(rest) else ""
        if line.startswith("## "):
            title, is_table = line[3:], False
        elif line.startswith("# "):
            answer.lines.append(line[2:])
            is_table = False
        elif re.fullmatch(r"---(\|---)*", following):
            answer.tables.append((title, split_cells(line), []))
        elif re.fullmatch(r"---(\|---)*", line):
            is_table = True
        elif is_table:
            answer.tables[-1][2].append(split_cells(line))
        elif answer.tables or not re.fullmatch(r'[\w."%()/ -]+: .*', line) or " (rows are " in line:
            answer.lines.append(line)
        else:
            name, _, value = line.partition(": ")
            answer.pairs[name] = value
    return answer


def split_cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)


@dataclass
class Truth:
    """What the rows say of an answer to a case."""

    case: Case
    answer: Answer
    is_gateway: bool = False
    surface: str = "text"

    # --- the question ---

    @cached_property
    def arguments(self) -> Mapping[str, Any]:
        return self.case.arguments

    @cached_property
    def datasource(self) -> Any:
        return load_catalog().datasources[self.case.datasource]  # type: ignore[index]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        if self.case.tool == "list_values":
            field_ = self.arguments["field"]
            return () if field_ == "metadata" else (field_,)
        return tuple(self.arguments.get("groupBy", ()))

    @cached_property
    def names(self) -> list[str]:
        """The values asked for, in order."""
        return list(dict.fromkeys(self.arguments.get("aggregations", ())))

    @property
    def is_series(self) -> bool:
        return self.case.tool == "query_timeseries"

    @property
    def is_compared(self) -> bool:
        return "compareTo" in self.arguments

    @property
    def is_restricted(self) -> bool:
        return not self.case.caller.is_tenant_admin

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.arguments.get("timezone", "UTC"))

    @cached_property
    def window(self) -> Window:
        return self.answer.windows[0]

    @cached_property
    def earlier(self) -> Window:
        return self.answer.windows[1]

    @cached_property
    def windows(self) -> list[Window]:
        return self.answer.windows

    @cached_property
    def side(self) -> bool | None:
        """Of virtual models: True for the models' own rows, False for the virtual ones'."""
        if not self.datasource.has_virtual_models:
            return None
        given = [c for c in self.case.conditions if c[0] == "virtualModelName"]
        columns = {*self.groups, *(name.partition(" ")[2] for name in self.names)}
        return not given and "virtualModel" not in columns

    @cached_property
    def subjects(self) -> set[str]:
        return {SUBJECTS[name] for name in self.groups if name in SUBJECTS}

    # --- the rows ---

    def query(
        self, window: Window, conditions: Iterable[Condition], groups: Iterable[str]
    ) -> Query:
        return Query.model_construct(
            datasource=self.case.datasource,  # type: ignore[arg-type]
            type="distribution",
            start_ts=window[0],
            end_ts=window[1],
            aggregations=(),
            group_by=tuple(groups),
            filters=tuple(
                Filter.model_construct(
                    field_name=name,
                    operator=operator,  # type: ignore[arg-type]
                    value=tuple(value) if isinstance(value, list) else value,
                )
                for name, operator, value in conditions
            ),
            interval=None,
        )

    def rows(
        self,
        window: Window | None = None,
        *,
        grouped: bool = False,
        conditions: Iterable[Condition] | None = None,
        groups: Sequence[str] | None = None,
        side: bool = True,
    ) -> list[Row]:
        """The rows that the caller may see and the conditions let through."""
        asked = self.case.conditions if conditions is None else tuple(conditions)
        by = (self.groups if groups is None else groups) if grouped else ()
        query = self.query(window or self.window, asked, by)
        found = [
            row
            for row in self.case.rows
            if evaluator.is_asked_for(row, query, self.case.caller, load_catalog())
        ]
        if not side or self.side is None:
            return found
        return [row for row in found if (row["VirtualModelName"] is None) is self.side]

    def all_rows(self, **how: Any) -> list[Row]:
        """Of all windows."""
        return [row for window in self.windows for row in self.rows(window, **how)]

    def counts(self, window: Window | None = None) -> Counter[Keys]:
        """How many rows each group has."""
        query = self.query(window or self.window, (), self.groups)
        return Counter(
            keys
            for row in self.rows(window, grouped=True)
            for _, keys in evaluator.groups_of(row, query, self.datasource)
        )

    @cached_property
    def keys(self) -> list[Keys]:
        """The groups of all windows."""
        return list(dict.fromkeys(key for window in self.windows for key in self.counts(window)))

    @cached_property
    def is_empty(self) -> bool:
        return not self.all_rows(grouped=True)

    @cached_property
    def overlapping(self) -> list[Row]:
        """Grouped rows that count in several groups."""
        if "team" not in self.groups:
            return []
        rows = self.all_rows(grouped=True)
        return [row for row in rows if len(evaluator.teams_of(row)) > 1]

    @cached_property
    def left_out(self) -> list[Row]:
        """Rows of ALL that no group has."""
        grouped = {id(row) for row in self.all_rows(grouped=True)}
        return [row for row in self.all_rows() if id(row) not in grouped]

    @cached_property
    def has_all(self) -> bool:
        """Whether ALL is asked for."""
        is_shown = self.case.settings["all_row"] and not self.is_series
        is_asked = self.case.tool != "list_values" and self.surface != "csv"
        return bool(self.groups) and is_shown and is_asked

    def values_of(self, field_: str, rows: Iterable[Row]) -> set[str]:
        """The texts of a field in rows, as filters have them."""
        name = {"virtualAccount": "virtualaccount", "virtualModelName": "virtualModel"}.get(
            field_, field_
        )
        return {
            str(key[0])
            for row in rows
            for _, key in evaluator.groups_of(
                row, self.query(self.window, (), [name]), self.datasource
            )
            if key[0] is not None
            and (name not in SUBJECTS or row["CreatedBySubjectType"] == SUBJECTS[name])
        }

    def column(self, name: str) -> str:
        known = self.datasource.columns
        column: str = known[name].table_column
        return column

    def aggregate(self, text: str, rows: Sequence[Row]) -> Number | None:
        type_, _, column = text.partition(" ")
        if text == "total":
            return len(rows)
        aggregation = Aggregation.model_construct(type=type_, column=column)  # type: ignore[arg-type]
        return evaluator.aggregate(aggregation, list(rows), self.datasource, None)

    # --- buckets ---

    @cached_property
    def edges(self) -> list[datetime]:
        """The starts of all buckets, and the end of the last one."""
        start, end = self.window
        edges = [self._floor(start)]
        while edges[-1] < end:
            edges.append(self._after(edges[-1]))
        return edges

    @cached_property
    def interval(self) -> Interval:
        text = next(p for p in self.answer.parts if re.match(r"\d+ buckets? of ", p))
        match = re.match(r"\d+ buckets? of (\d+ \w+)", text)
        assert match
        return Interval.parse(match[1])

    @property
    def is_local(self) -> bool:
        """Whether buckets begin by the zone's clocks."""
        in_utc = any(line.startswith("buckets begin where those of UTC") for line in self.lines)
        return self.zone.key != "UTC" and not in_utc

    @property
    def lines(self) -> list[str]:
        return self.answer.lines

    @cached_property
    def knows_edges(self) -> bool:
        """Whether no clock change makes some of the hours longer or shorter."""
        if self.interval.unit in ("day", "week", "month", "year"):
            return True
        return len({instant.astimezone(self.zone).utcoffset() for instant in self.window}) == 1

    def _floor(self, instant: datetime) -> datetime:
        if not self.is_local:
            return evaluator.start_of(self.interval, evaluator.number_of(self.interval, instant))
        wall = instant.astimezone(self.zone).replace(tzinfo=UTC)
        start = evaluator.start_of(self.interval, evaluator.number_of(self.interval, wall))
        return start.replace(tzinfo=self.zone).astimezone(UTC)

    def _after(self, instant: datetime) -> datetime:
        wall = instant.astimezone(self.zone).replace(tzinfo=UTC) if self.is_local else instant
        number = evaluator.number_of(self.interval, wall) + 1
        following = evaluator.start_of(self.interval, number)
        return following.replace(tzinfo=self.zone).astimezone(UTC) if self.is_local else following

    @cached_property
    def empty_buckets(self) -> int:
        rows = [row["CreatedAt"] for row in self.rows(grouped=True)]
        spans = zip(self.edges, self.edges[1:], strict=False)
        return sum(not any(a <= made < b for made in rows) for a, b in spans)


def near(printed: str, value: Number, slack: float = 1e-3) -> bool:
    """Whether a printed figure is the value, rounded to four digits or to cents."""
    number = float(printed.rstrip("%p"))
    return abs(number - value) <= max(abs(value) * slack, 0.0051 if abs(value) >= 10 else 1e-9)


def texts_of(listed: str) -> Iterator[str]:
    """The names of `a, "b c" and 2 more`, as they are stored."""
    for name in re.findall(r'"(?:[^"\\]|\\.)*"|[^,]+(?= and \d+ more)|[^,]+', listed):
        yield unquote(name.strip())


def unquote(text: str) -> str:
    return json.loads(text.replace("\\|", "|")) if text.startswith('"') else text


HOUR: Final = timedelta(hours=1)
