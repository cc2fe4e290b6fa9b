"""The command `import`: its flags, and one import from start to end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.cli.ingest.directory import DataDirectory, open_directory
from gateway_metrics_mcp.cli.ingest.engine import Counts, Engine, open_database
from gateway_metrics_mcp.cli.ingest.mapping import (
    Assignments,
    Match,
    Preset,
    check_sources,
    load_preset,
    match_columns,
    preset_names,
    read_assignments,
)
from gateway_metrics_mcp.cli.ingest.prices import Price, read_prices
from gateway_metrics_mcp.cli.ingest.report import Report, explain_refusals
from gateway_metrics_mcp.cli.ingest.sources import Format, SourceFile, find_columns, find_sources
from gateway_metrics_mcp.cli.parsers import Parser
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError
from gateway_metrics_mcp.query import quote
from gateway_metrics_mcp.query.time.zone import name_zone, read_zone
from gateway_metrics_mcp.query.time.zone_rules import describe_rules

PROGRAM: Final = "gateway-metrics-mcp import"


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
    try:
        for line in run_import(options).lines():
            print(line)  # noqa: T201 - the command's output
    except GatewayMetricsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201 - likewise
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
        fresh, known = _split(plan, {} if options.again else directory.imported())
        report = Report(plan.table, plan.columns, plan.assignments, known)
        if fresh:
            _import(plan, fresh, directory, report)
    return report


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
        elif twin is not None and not plan.options.again:
            known.append((source, str(twin.path)))
        else:
            fresh.append(source)
    return fresh, known


def _import(
    plan: Plan, sources: list[SourceFile], directory: DataDirectory, report: Report
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
            report.days = engine.write_days(run)
            if report.counts.refused:
                engine.write_refused(run / "_refused.jsonl")
            per_file = [engine.count(n) for n in range(len(sources))]
        if report.counts.good:
            record = _record(plan, sources, per_file)
            report.folder = directory.commit(run, report.days, record)


def _record(plan: Plan, sources: list[SourceFile], per_file: list[Counts]) -> dict[str, Any]:
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
    check_sources(plan.assignments, listed)
    matches = [
        match_columns(columns, plan.assignments, plan.preset, tuple(plan.columns), str(source.path))
        for source, columns in zip(sources, listed, strict=True)
    ]
    for number, (source, match) in enumerate(zip(sources, matches, strict=True)):
        engine.stage(number, source, match, plan.preset)
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
    add("--again", action="store_true", help="import files again that were imported before")
    add("--memory", default="1GB", metavar="SIZE", help="memory limit (default: 1GB)")
    add("--threads", type=int, default=2, metavar="N", help="threads to use (default: 2)")
    return parser
