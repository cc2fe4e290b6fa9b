"""The flags of `ask`, generated from the tools' arguments, and messages in terms of flags."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.cli.ask.filters import read_filters
from gateway_metrics_mcp.cli.parsers import Parser, add_setting_flags
from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query import Catalog, did_you_mean, name_zone, parse_json, quote
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES
from gateway_metrics_mcp.rendering.document import Words
from gateway_metrics_mcp.reports.arguments import Arguments
from gateway_metrics_mcp.server.tools import TOOLS

PROGRAM: Final = "gateway-metrics-mcp ask"
QUESTIONS: Final[Mapping[str, str]] = {
    "distribution": "query_distribution",
    "timeseries": "query_timeseries",
    "fields": "list_fields",
    "values": "list_values",
}
_OF_REPORTS: Final = ("table", "aligned", "exact", "csv", "json", "markdown", "explain")
_FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "distribution": _OF_REPORTS,
    "timeseries": _OF_REPORTS,
    "fields": ("table", "markdown"),
    "values": ("table", "aligned", "csv", "json", "markdown"),
}
FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "groupBy": ("--by",),
    "filters": ("--where", "--filter"),
    "startTs": ("--range", "--start"),
    "endTs": ("--end",),
    "compareTo": ("--compare",),
    "orderBy": ("--order",),
}
"""The flags of arguments, where they are not the argument's name."""

_HELP: Final[Mapping[str, str]] = {
    "--by": "split by a field; repeat, or separate by commas",
    "--where": "a filter: 'modelName = openai/gpt-4o', 'team in a, b', 'latencyMs > 500',"
    " 'modelName contains gpt', 'virtualModelName is not null'; repeat: all must hold",
    "--filter": "the same as separate shell words: --filter team in a b; for scripts",
    "--range": "a period: today, 'last 7 days', 'last month', 2026-07, 2026-07-14, now-7d",
    "--start": "the same, or ISO 8601; 2026-07-14.. is from that day to now",
    "--limit": "rows (of a timeseries: series) to show",
    "--measure": "a measure: errorRate, costPerRequest, share, ...; repeat, or separate by commas",
}
_METAVARS: Final[Mapping[str, str | tuple[str, str]]] = {
    "--by": "FIELD",
    "--where": "CONDITION",
    "--filter": ("FIELD", "OP VALUE"),
    "--range": "PERIOD",
    "--start": "TIME",
    "--end": "TIME",
    "--timezone": "ZONE",
    "--compare": "PERIOD",
    "--order": "COLUMN",
    "--interval": "LENGTH",
    "--search": "TEXT",
}
_SHOWN: Final = ("backend", "token_file", "catalog", "budget", "all_row", "hide_emails", "timeout")


class Given(NamedTuple):
    """One flag of the question, as written."""

    argument: str
    flag: str
    text: str
    prefix: str  # the function: `sum` for `--sum`
    words: Sequence[str]  # several for `--filter`, else only the text


class AskOptions(NamedTuple):
    """The parsed command line."""

    tool: str
    given: Sequence[Given]
    format: str
    limits: Sequence[str]
    fails_if_empty: bool
    settings: Mapping[str, Any]
    problems: Sequence[str]  # of the flags themselves, reported with those of the question


class _Collect(argparse.Action):
    """Collects flags in the order given, which is the order of the answer's columns."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse gives it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values is not None:
            words = [values] if isinstance(values, str) else values
            flag = option_string or str(self.metavar)
            one = Given(self.dest, flag, " ".join(words), self.const or "", words)
            namespace.given = [*getattr(namespace, "given", ()), one]


def read_order(argv: Sequence[str]) -> AskOptions:
    """Parse the command line; `--help` and an unknown question exit."""
    name = argv[0] if argv else ""
    name = next((short for short, tool in QUESTIONS.items() if tool == name), name)
    if name not in QUESTIONS:
        front = Parser(
            PROGRAM,
            usage=f"%(prog)s {{{','.join(QUESTIONS)}}} [flags]",
            description="Asks a question and prints the answer. Each has flags: --help behind it.",
        )
        front.parse_known_args(argv[:1])  # ends here for --help
        what = f"unknown question {quote(name)}" if name else "the question is missing"
        front.error(f"{what}. {did_you_mean(name, QUESTIONS)}")
    words = list(argv[1:])
    for at in reversed([at for at, word in enumerate(words[:-1]) if word == "--order"]):
        # Joined to one word: argparse would take the `-total` of `--order -total` for a flag.
        words[at : at + 2] = [f"--order={words[at + 1]}"]
    parser = _build_parser(name)
    known, rest = parser.parse_known_args(words)
    values = vars(known)
    given = values.pop("given", ())
    format_ = values.pop("format")
    problems = [*parser.explain_unknown(rest, argv[1:]), *_explain_twice(given)]
    if format_ not in _FORMATS[name]:
        choice = did_you_mean(format_, _FORMATS[name])
        problems.append(f"--format: {quote(format_)} is unknown. {choice}")
        format_ = "table"  # so that all other problems are found too
    return AskOptions(
        QUESTIONS[name],
        given,
        format_,
        values.pop("fail_if", None) or (),
        values.pop("fail_if_empty", False),
        values,
        problems,
    )


def _build_parser(name: str) -> Parser:
    tool = TOOLS[QUESTIONS[name]]
    parser = Parser(
        f"{PROGRAM} {name}",
        description=f"{tool.title}: the answer of the tool {tool.name}.",
        epilog="Exit codes: 0 answered; 1 failed; 2 wrong usage or question; 3 a --fail-if"
        " condition holds; 4 no rows, with --fail-if-empty. Every other setting of the server is a"
        " flag here too.",
    )
    question = parser.add_argument_group("the question")
    _add_arguments(question, tool.arguments)
    answer = parser.add_argument_group("the answer")
    text = f"one of {', '.join(_FORMATS[name])} (default: table, aligned in a terminal)"
    answer.add_argument("--format", default="table", metavar="FORMAT", help=text)
    if name in ("distribution", "timeseries"):
        text = "exit with 3 if it holds, such as 'sumCostInUSD > 100': of ALL, with `any` of rows"
        answer.add_argument("--fail-if", action="append", metavar="LIMIT", help=text)
    if name != "fields":
        text = "exit with 4 if there are no rows"
        answer.add_argument("--fail-if-empty", action="store_true", help=text)
    add_setting_flags(
        parser.add_argument_group("settings"),  # type: ignore[arg-type]  # it adds as a parser does
        without=("timezone",),  # the tool's argument of that name has the flag
        shown=_SHOWN,
    )
    return parser


def _add_arguments(group: Any, arguments: type[Arguments]) -> None:
    for name, one in arguments.model_fields.items():
        alias = one.alias or name
        if alias == "format":
            continue
        if alias == "aggregations":
            _add_aggregations(group)
            continue
        if alias == "field" or (alias == "datasource" and len(arguments.model_fields) == 1):
            group.add_argument(alias, action=_Collect, nargs="?", metavar=alias.upper())
        for flag in FLAGS.get(alias, (f"--{alias}",)):
            text = (_HELP.get(flag) or one.description or "").replace("%", "%%")
            metavar = _METAVARS.get(flag, alias.upper())
            nargs = "+" if flag == "--filter" else None
            group.add_argument(
                flag, dest=alias, action=_Collect, nargs=nargs, metavar=metavar, help=text
            )


def _add_aggregations(group: Any) -> None:
    """Add a flag per aggregation function, such as `--sum costInUSD`, and `--measure`."""
    collect = {"dest": "aggregations", "action": _Collect}
    for function in AGGREGATION_TYPES:
        # `--count-distinct` beside `--countDistinct`
        kebab = re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", function)
        flags = dict.fromkeys((f"--{kebab}", f"--{function}"))
        text = f"{function} of a column; repeat, or separate by commas"
        group.add_argument(*flags, const=function, metavar="COLUMN", help=text, **collect)
    group.add_argument("--measure", metavar="MEASURE", help=_HELP["--measure"], **collect)


def _explain_twice(given: Sequence[Given]) -> Iterator[str]:
    for argument in ("startTs", "field", "datasource"):
        texts = [one for one in given if one.argument == argument]
        if len(texts) > 1:
            yield f"{' and '.join(one.flag for one in texts)}: give one of them, once"


def list_names(text: str) -> list[Any]:
    """Comma-separated names as a list; JSON text parsed, as tools accept it too."""
    parsed = parse_json(text)
    if isinstance(parsed, str):
        return [name.strip() for name in parsed.split(",")]
    return parsed if isinstance(parsed, list) else [parsed]


_SPOKEN: Final[Mapping[str, str]] = {name: flags[0] for name, flags in FLAGS.items()} | {
    "aggregations": "--sum and the like",
}
_ARGUMENT: Final = rf"\b({'|'.join(_SPOKEN)})\b"
_QUOTED: Final = r'("[^"]*")'
_WINDOW: Final = ("startTs", "endTs", "compareTo")


@dataclass(slots=True)
class Wording:
    """The tool's arguments, and the flag that each came from, for messages."""

    raw: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _flags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, order: AskOptions, catalog: Catalog) -> Wording:
        """Convert flags to arguments; invalid conditions become `problems`."""
        wording = cls()
        for one in order.given:
            if one.argument == "filters":
                continue
            if one.argument in ("aggregations", "groupBy"):
                for name in list_names(one.text):
                    entry = f"{one.prefix} {name}" if one.prefix else name
                    wording._add(one.argument, entry, f"{one.flag} {name}")
            else:
                wording._set(one)
        # Filters come last: their operators depend on the datasource, which may be a later flag.
        datasource = wording.raw.get("datasource", "modelMetrics")
        for one in order.given:
            if one.argument == "filters":
                wording._add_condition(one, datasource, catalog)
        return wording

    def _set(self, given: Given) -> None:
        self.raw[given.argument] = given.text
        self._flags[given.argument] = given.flag
        if given.argument == "timezone":
            try:
                self.raw[given.argument] = name_zone(given.text)
            except ValueError as error:
                self.problems.append(f"{given.flag}: {error}")

    def _add_condition(self, given: Given, datasource: str, catalog: Catalog) -> None:
        flag = f"{given.flag} {quote(given.text)}"
        try:
            for filter_ in read_filters(given.words, datasource, catalog):
                self._add("filters", filter_, flag)
        except ValueError as error:
            self.problems.append(f"{flag}: {error}")

    def _add(self, argument: str, entry: object, flag: str) -> None:
        entries = self.raw.setdefault(argument, [])
        self._flags[f"{argument}[{len(entries)}]"] = flag
        entries.append(entry)

    def explain(self, problem: Problem) -> str:
        """The problem in terms of flags instead of the tool's arguments."""
        place = re.match(r"\w+(?:\[\d+\])?", problem.place)
        found = None if place is None else self._flags.get(place[0])
        if found is None and problem.place == "field":
            found = "FIELD"  # positional, without a flag
        if found is None:
            found = _speak_names(problem.place, self._flags)
        return f"{found}: {_speak_names(problem.message, self._flags)}"

    def words(self) -> Words:
        """The terms in which answers name the next command."""
        return Words("ask values", "ask fields", "--format exact", self._go_on)

    def _go_on(self, arguments: Mapping[str, Any]) -> str:
        """`the same without --range, with --offset 5 --start now-7d`.

        The flags that gave the window must be removed, because it may be given only once.
        """
        flags = {name: FLAGS.get(name, (f"--{name}",))[-1] for name in arguments}
        given = dict.fromkeys(
            self._flags[name] for name in _WINDOW if name in flags and name in self._flags
        )
        without = f"without {' and '.join(given)}, " if given else ""
        words = " ".join(
            f"{flags[name]} {shlex.quote(str(value))}" for name, value in arguments.items()
        )
        return f"the same {without}with {words}"


def _speak_names(text: str, flags: Mapping[str, str]) -> str:
    """Replace arguments' names by flags, except in quoted text, which is the caller's."""

    def speak(match: re.Match[str]) -> str:
        return flags.get(match[1], _SPOKEN[match[1]])

    parts = re.split(_QUOTED, text)
    return "".join(
        part if i % 2 else re.sub(_ARGUMENT, speak, part) for i, part in enumerate(parts)
    )
