"""The command `import`: its flags, one import from start to end, and its report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.cli.ingest.compact import Compacted, compact_small
from gateway_metrics_mcp.cli.ingest.directory import DataDirectory, open_directory
from gateway_metrics_mcp.cli.ingest.engine import (
    BROKEN_LINE,
    Counts,
    Engine,
    Refusal,
    column_defaults,
    open_database,
)
from gateway_metrics_mcp.cli.ingest.identity import Settled, Settlement, find_stored
from gateway_metrics_mcp.cli.ingest.mapping import (
    Assignments,
    Match,
    Preset,
    check_sources,
    describe,
    load_preset,
    match_columns,
    preset_names,
    read_assignments,
)
from gateway_metrics_mcp.cli.ingest.prices import Price, read_prices
from gateway_metrics_mcp.cli.ingest.sources import Format, SourceFile, find_columns, find_sources
from gateway_metrics_mcp.cli.parsers import Parser
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError
from gateway_metrics_mcp.query import name_zone, quote, read_zone
from gateway_metrics_mcp.query.time.zone_rules import describe_rules
from gateway_metrics_mcp.runtime.logs import escape

PROGRAM: Final = "gateway-metrics-mcp import"
_AGAIN: Final = "the files' earlier rows make room for the new ones"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The command line's flags, not validated yet."""

    files: tuple[str, ...]
    into: Path
    table: str | None
    preset: str | None
    map: list[str]
    set: list[str]
    timezone: str | None
    prices: Path | None
    format: Format | None
    strict: bool
    replace: bool
    again: bool
    memory: str
    threads: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The validated options; everything that can be checked before reading rows is checked."""

    options: ImportOptions
    table: str
    columns: dict[str, str]
    preset: Preset | None
    assignments: Assignments
    zone: ZoneInfo | None
    prices: tuple[Price, ...]
    sources: tuple[SourceFile, ...]


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0 success, 1 an explained failure, 130 Ctrl-C; wrong usage exits with 2.
    """
    values = vars(_build_parser().parse(argv))
    options = ImportOptions(**{**values, "files": tuple(values["files"])})
    if options.again:
        print(f"{PROGRAM}: --again is --replace now: {_AGAIN}", file=sys.stderr)  # noqa: T201 - likewise
        options = replace(options, replace=True)
    try:
        for line in run_import(options).lines():
            print(escape(line))  # noqa: T201 - the command's output
    except GatewayMetricsError as error:
        said = escape(str(error), "\t\n")  # names of files, a line each
        print(f"{PROGRAM}: {said}", file=sys.stderr)  # noqa: T201 - likewise
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted, nothing was imported", file=sys.stderr)  # noqa: T201 - likewise
        return 130
    return 0


def run_import(options: ImportOptions) -> Report:
    """Import the files, all or nothing.

    Raises:
        SettingsError: if the options are invalid or do not fit the files.
        EngineError: if a file or the directory cannot be read or written.
    """
    plan = _make_plan(options)
    # Locked from here on, so that no other import adds the same content meanwhile.
    with open_directory(options.into, plan.table, messages=sys.stderr) as directory:
        imported = directory.imported()
        fresh, known = _split(plan, {} if options.replace else imported)
        report = Report(plan.table, plan.columns, plan.assignments, known)
        if fresh:
            replaced = [source for source in fresh if source.sha256 in imported]
            _import(plan, fresh, replaced, directory, report)
        if report.folder is not None:
            _merge(plan, directory, report, report.folder)
    return report


def _merge(plan: Plan, directory: DataDirectory, report: Report, imported: Path) -> None:
    """Merge the small files of earlier runs, if it pays; the import is in, whatever happens."""
    try:
        report.merged = compact_small(
            directory,
            report.days,
            report.counts.good,
            besides=imported,
            memory=plan.options.memory,
            threads=plan.options.threads,
        )
    except GatewayMetricsError as error:
        report.unmerged = str(error)
    except KeyboardInterrupt:
        report.unmerged = "interrupted"


def _make_plan(options: ImportOptions) -> Plan:
    preset = load_preset(options.preset) if options.preset else None
    table = options.table or (preset.table if preset else "gateway_model_metrics")
    if preset and table != preset.table:
        raise SettingsError(f"--preset {options.preset} fills the table {preset.table} alone")
    columns = published_tables()[table]
    if options.prices and "CostInUSD" not in columns:
        raise SettingsError(f"--prices: the table {table} has no CostInUSD")
    name = options.timezone or (preset.timezone if preset else None)
    try:
        zone = None if name is None else read_zone(name_zone(name))
    except ValueError as error:
        raise SettingsError(f"--timezone: {error}") from None
    return Plan(
        options,
        table,
        columns,
        preset,
        read_assignments(options.map, options.set, tuple(columns)),
        zone,
        read_prices(options.prices) if options.prices else (),
        tuple(find_sources(options.files, options.format)),
    )


def _split(
    plan: Plan, imported: dict[str, str]
) -> tuple[list[SourceFile], list[tuple[SourceFile, str]]]:
    """The files to import, and those whose content is known, with the run or file that has it."""
    fresh: list[SourceFile] = []
    known: list[tuple[SourceFile, str]] = []
    for source in plan.sources:
        if plan.preset and source.format not in plan.preset.formats:
            formats = " or ".join(plan.preset.formats)
            raise SettingsError(f"{source.path}: --preset {plan.options.preset} reads {formats}")
        twin = next((other for other in fresh if other.sha256 == source.sha256), None)
        if source.sha256 in imported:
            known.append((source, imported[source.sha256]))
        elif twin is not None:
            known.append((source, str(twin.path)))
        else:
            fresh.append(source)
    return fresh, known


def _import(
    plan: Plan,
    sources: list[SourceFile],
    replaced: list[SourceFile],
    directory: DataDirectory,
    report: Report,
) -> None:
    options = plan.options
    with directory.staging() as staging:
        run = staging / "run"
        run.mkdir()
        with open_database(
            staging, zone=plan.zone, memory=options.memory, threads=options.threads
        ) as connection:
            engine = Engine(connection, plan.table, plan.columns, sys.stderr)
            report.matches = _stage(engine, plan, sources)
            engine.set_prices(plan.prices)
            report.sources, report.counts = sources, engine.count()
            report.refusals = engine.refusals()
            if report.counts.refused and (options.strict or not report.counts.good):
                raise SettingsError("\n".join(explain_refusals(report)))
            report.left_out = plan.preset.left_out if plan.preset else ""
            report.costs = engine.count_costs() if plan.prices else None
            stored = find_stored(directory, engine.days(), replaced)
            hashes = [source.sha256 for source in sources]
            settlement = Settlement(connection, plan.table, plan.columns, hashes)
            report.settled = settlement.settle(stored, [source.sha256 for source in replaced])
            report.days = engine.write_days(run)
            if report.counts.refused:
                engine.write_refused(run / "_refused.jsonl")
            per_file = [engine.count(n) for n in range(len(sources))]
        if report.days:
            record = _record(plan, sources, per_file, report)
            drops = report.settled.drops
            report.folder = directory.commit(run, report.days, record, drops)


def _record(
    plan: Plan, sources: list[SourceFile], per_file: list[Counts], report: Report
) -> dict[str, Any]:
    """The record of a run: its files by content hash, which later runs compare."""
    zone = plan.zone and {"timezone": plan.zone.key, "timezone_rules": describe_rules()}
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": plan.table,
        **(zone or {}),
        "sources": [
            {"name": s.path.name, "sha256": s.sha256, "rows": c.good, "refused": c.refused}
            for s, c in zip(sources, per_file, strict=True)
        ],
        "calls": report.settled.facts() | {"refused": report.counts.refused},
    }


def _stage(engine: Engine, plan: Plan, sources: list[SourceFile]) -> list[Match]:
    """Read all files; constants and columns are checked before any rows are read.

    Raises:
        SettingsError: if a constant or an assignment does not fit.
    """
    for target, value in plan.assignments.constants.items():
        if fault := engine.check_constant(target, value):
            raise SettingsError(f"--set: {target} cannot be {quote(value)}: {fault}")
    listed = [find_columns(engine.connection, source, plan.preset) for source in sources]
    check_sources(plan.assignments, [columns.names for columns in listed])
    targets = tuple(plan.columns)
    matches = [
        match_columns(columns.names, plan.assignments, plan.preset, targets, str(source.path))
        for source, columns in zip(sources, listed, strict=True)
    ]
    for number, (source, columns, match) in enumerate(zip(sources, listed, matches, strict=True)):
        engine.stage(number, source, columns, match, plan.preset)
    return matches


def _build_parser() -> Parser:
    parser = Parser(
        PROGRAM,
        usage="%(prog)s FILE ... --into DIR [flags]",
        description="Brings CSV, JSONL or Parquet files into a directory that --backend reads.",
        epilog="All or nothing: a run that fails or is interrupted leaves the data as they were.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files, or quoted patterns such as 'logs/*.csv'")
    add("--into", type=Path, required=True, metavar="DIR", help="the data directory")
    add("--table", choices=tuple(published_tables()), help="default: gateway_model_metrics")
    add("--preset", choices=preset_names(), help="a known origin: its columns need no --map")
    add(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=SOURCE,...",
        help="columns of the table and the columns of the files that fill them; may be repeated",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="a column of the table that has one value in all rows; may be repeated",
    )
    add("--timezone", metavar="ZONE", help="the zone of times without an offset, such as UTC")
    add("--prices", type=Path, metavar="FILE", help="a TOML file of prices, for rows without cost")
    add("--format", choices=("csv", "jsonl", "parquet"), help="default: by the files' names")
    add("--strict", action="store_true", help="import nothing if any row is refused")
    add("--replace", action="store_true", help="read files again, in place of their earlier rows")
    add("--again", action="store_true", help=argparse.SUPPRESS)
    add("--memory", default="700MB", metavar="SIZE", help="memory limit (default: 700MB)")
    add("--threads", type=int, default=2, metavar="N", help="threads to use (default: 2)")
    return parser


# --- the report ---


_MOST_REASONS = 10


@dataclass(slots=True)
class Report:
    """The facts of a run, filled in as it proceeds."""

    table: str
    columns: dict[str, str]
    assignments: Assignments
    known: list[tuple[SourceFile, str]]
    sources: list[SourceFile] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    settled: Settled = field(default_factory=Settled)
    refusals: list[Refusal] = field(default_factory=list)
    left_out: str = ""
    costs: tuple[int, int, list[str]] | None = None
    days: list[str] = field(default_factory=list)
    folder: Path | None = None
    merged: Compacted = field(default_factory=Compacted)
    unmerged: str = ""

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        for source, place in self.known:
            yield f"{source.path}: imported before, in {place}; --replace reads it again"
        if not self.sources:
            yield "nothing new to import"
            return
        counts, settled = self.counts, self.settled
        files = f"{len(self.sources)} file{'s' if len(self.sources) > 1 else ''}"
        left_out = f", {counts.left_out:,} left out ({self.left_out})" if counts.left_out else ""
        known = ""
        if settled.known or settled.replaced:
            known = f" {settled.known:,} known already, {settled.replaced:,} replaced,"
        yield (
            f"{files}: {counts.read:,} rows read, {settled.new:,} new,{known}"
            f" {counts.refused:,} refused{left_out}"
        )
        yield from _explain_reasons(self)
        yield from _explain_calls(settled)
        if self.folder is None:
            yield "no new rows, so nothing was written"
            return
        if counts.refused:
            yield f"refused rows: {self.folder / '_refused.jsonl'}"
        yield from self._explain_columns()
        if self.costs is not None:
            yield from _explain_costs(*self.costs)
        span = self.days[0] if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"
        plural = "s" if len(self.days) > 1 else ""
        yield f"{len(self.days)} UTC day{plural}, {span}, in {self.folder}"
        if settled.taken_over or settled.replaced:
            runs = f"{len(settled.drops)} earlier run{'s' if len(settled.drops) > 1 else ''}"
            yield f"it has rows of {runs} too, so do not remove that folder to undo it"
        else:
            yield "to undo it, remove that folder"
        if self.merged.days:
            yield f"merged earlier runs, which cannot be undone one by one now: {self.merged}"
        if self.unmerged:
            yield f"the files of earlier imports were not merged: {self.unmerged}"

    def _explain_columns(self) -> Iterator[str]:
        """Which columns were mapped, filled with defaults, ambiguous, or not read."""
        by_column = {t: n for match in self.matches for t, n in match.by_column.items()}
        if by_column:
            yield f"mapped: {describe(by_column)}"
        if self.assignments.constants:
            yield f"set: {describe(self.assignments.constants)}"
        given = {target for match in self.matches for target in match.expressions}
        filled = [name for name in column_defaults(self.table) if name not in given]
        ids = [name for name in filled if name in ("TraceId", "SpanId")]
        if ids:
            yield f"made from each file's content and row number: {', '.join(ids)}"
        others = [name for name in filled if name not in ids]
        if others:
            yield f"filled with a default, as the layout requires a value: {', '.join(others)}"
        ambiguous = sorted({name for match in self.matches for name in match.ambiguous})
        if ambiguous:
            yield f"not mapped, as several could be the same column: {', '.join(ambiguous)}"
        unread = sorted({name for match in self.matches for name in match.unread})
        if unread:
            yield f"not read: {', '.join(unread)}"


def explain_refusals(report: Report) -> Iterator[str]:
    """The error text of a run that refused rows stopped."""
    counts = report.counts
    yield f"nothing was imported: {counts.refused:,} of {counts.read:,} rows are refused"
    yield from _explain_reasons(report)


def _explain_reasons(report: Report) -> Iterator[str]:
    for refusal in report.refusals[:_MOST_REASONS]:
        unit = "line" if refusal.reason.startswith(BROKEN_LINE) else "row"
        first = f"first: {report.sources[refusal.file].path.name}, {unit} {refusal.row:,}"
        yield f"  {refusal.rows:,} refused: {refusal.reason} ({first})"
    more = report.refusals[_MOST_REASONS:]
    if more:
        yield f"  {sum(refusal.rows for refusal in more):,} refused for {len(more)} other reasons"


def _explain_calls(settled: Settled) -> Iterator[str]:
    """What the figures of the first line do not say."""
    if settled.wrapping:
        yield f"spans around others of the same call, which counts once: {settled.wrapping:,}"
    if settled.withdrawn:
        yield f"earlier rows of these files, which made room: {settled.withdrawn:,}"
    before = settled.unmatched_before
    if settled.unmatched or before:
        rows = [
            f"{count:,} {what}"
            for count, what in ((settled.unmatched, "new"), (before, "of earlier runs"))
            if count
        ]
        yield f"rows without ids of their own, which could not be matched: {', '.join(rows)}"


def _explain_costs(filled: int, lacking: int, models: list[str]) -> Iterator[str]:
    yield f"cost filled in from prices: {filled:,} rows"
    if lacking:
        yield f"no price, so no cost: {lacking:,} rows ({', '.join(models)})"
