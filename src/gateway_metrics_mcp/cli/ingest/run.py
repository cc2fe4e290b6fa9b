"""One import from beginning to end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway_metrics_mcp.backends.sql.tables import published_tables
from gateway_metrics_mcp.cli.ingest.directory import DataDirectory, open_directory
from gateway_metrics_mcp.cli.ingest.engine import Counts, Engine, open_engine
from gateway_metrics_mcp.cli.ingest.mapping import (
    Match,
    Preset,
    Wishes,
    check_sources,
    load_preset,
    match_columns,
    read_wishes,
)
from gateway_metrics_mcp.cli.ingest.prices import Price, read_prices
from gateway_metrics_mcp.cli.ingest.report import Report, explain_refusals
from gateway_metrics_mcp.cli.ingest.sources import Format, SourceFile, find_sources
from gateway_metrics_mcp.cli.ingest.statements import explain_type
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.suggestions import quote
from gateway_metrics_mcp.query.time.zone import read_zone

_DEFAULT_TABLE = "gateway_model_metrics"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command line states, as it states it."""

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
    """An order, checked as far as it can be before a file's rows are read."""

    order: ImportOptions
    table: str
    columns: dict[str, str]
    preset: Preset | None
    wishes: Wishes
    zone: str | None
    prices: tuple[Price, ...]
    sources: tuple[SourceFile, ...]


def run_import(order: ImportOptions) -> Report:
    """Import the files, all or nothing.

    Raises:
        SettingsError: if the order cannot be carried out as it stands.
        EngineError: if a file or the directory cannot be read or written.
    """
    plan = _make_plan(order)
    with open_directory(order.into, plan.table, messages=sys.stderr) as directory:
        fresh, known = _split(plan, {} if order.again else directory.imported())
        report = Report(plan.table, plan.columns, plan.wishes, known)
        if fresh:
            _import(plan, fresh, directory, report)
    return report


def _make_plan(order: ImportOptions) -> Plan:
    preset = load_preset(order.preset) if order.preset else None
    table = order.table or (preset.table if preset else _DEFAULT_TABLE)
    if preset and table != preset.table:
        raise SettingsError(f"--preset {order.preset} fills the table {preset.table} alone")
    columns = published_tables()[table]
    if order.prices and "CostInUSD" not in columns:
        raise SettingsError(f"--prices: the table {table} has no CostInUSD")
    zone = order.timezone or (preset.timezone if preset else None)
    try:
        zone = None if zone is None else read_zone(zone).key
    except ValueError as error:
        raise SettingsError(f"--timezone: {error}") from None
    return Plan(
        order,
        table,
        columns,
        preset,
        read_wishes(order.map, order.set, tuple(columns)),
        zone,
        read_prices(order.prices) if order.prices else (),
        tuple(find_sources(order.files, order.format)),
    )


def _split(
    plan: Plan, imported: dict[str, str]
) -> tuple[list[SourceFile], list[tuple[SourceFile, str]]]:
    """The files to import, and those whose content is in already, with where it is."""
    fresh: list[SourceFile] = []
    known: list[tuple[SourceFile, str]] = []
    for source in plan.sources:
        if plan.preset and source.format not in plan.preset.formats:
            formats = " or ".join(plan.preset.formats)
            raise SettingsError(f"{source.path}: --preset {plan.order.preset} reads {formats}")
        twin = next((other for other in fresh if other.sha256 == source.sha256), None)
        if source.sha256 in imported:
            known.append((source, imported[source.sha256]))
        elif twin is not None and not plan.order.again:
            known.append((source, str(twin.path)))
        else:
            fresh.append(source)
    return fresh, known


def _import(
    plan: Plan, sources: list[SourceFile], directory: DataDirectory, report: Report
) -> None:
    order = plan.order
    with directory.staging() as staging:
        run = staging / "run"
        run.mkdir()
        with open_engine(
            staging, zone=plan.zone, memory=order.memory, threads=order.threads
        ) as connection:
            engine = Engine(connection, plan.table, plan.columns, sys.stderr)
            report.matches = _stage(engine, plan, sources)
            engine.set_prices(plan.prices)
            report.sources, report.counts = sources, engine.count()
            report.refusals = engine.refusals()
            if report.counts.refused and (order.strict or not report.counts.good):
                raise SettingsError("\n".join(explain_refusals(report)))
            report.left_out = plan.preset.left_out if plan.preset else ""
            report.costs = engine.count_costs() if plan.prices else None
            report.days = engine.write_days(run)
            if report.counts.refused:
                engine.write_refused(run / "_refused.jsonl")
            per_file = [engine.count(n) for n in range(len(sources))]
        if report.counts.good:
            record = _record(plan.table, sources, per_file)
            report.folder = directory.commit(run, report.days, record)


def _record(table: str, sources: list[SourceFile], per_file: list[Counts]) -> dict[str, Any]:
    """What a run holds, by the content of its files."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": table,
        "sources": [
            {"name": s.path.name, "sha256": s.sha256, "rows": c.good, "refused": c.refused}
            for s, c in zip(sources, per_file, strict=True)
        ],
    }


def _stage(engine: Engine, plan: Plan, sources: list[SourceFile]) -> list[Match]:
    """Read all files; their columns are checked before the first row is."""
    for target, value in plan.wishes.constants.items():
        type_ = plan.columns[target]
        if not engine.can_read(type_, value):
            raise SettingsError(f"--set: {target} cannot be {quote(value)}: {explain_type(type_)}")
    listed = [engine.columns_of(source, plan.preset) for source in sources]
    check_sources(plan.wishes, listed)
    matches = [
        match_columns(columns, plan.wishes, plan.preset, tuple(plan.columns), str(source.path))
        for source, columns in zip(sources, listed, strict=True)
    ]
    for number, (source, match) in enumerate(zip(sources, matches, strict=True)):
        engine.stage(number, source, match, plan.preset)
    return matches
