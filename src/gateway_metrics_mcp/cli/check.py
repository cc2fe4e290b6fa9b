"""The command `check`: tries the configured backend and says what works and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from gateway_metrics_mcp.backends import Backend, ExaminesTables
from gateway_metrics_mcp.backends.factory import find_directory, find_unread, open_backend
from gateway_metrics_mcp.backends.gateway.address import describe_proxy
from gateway_metrics_mcp.cli.integrity import READ_UNASKED, Comparison
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    GatewayMetricsError,
    RateLimitedError,
    SettingsError,
    TlsError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    WrongHostError,
)
from gateway_metrics_mcp.query import DATASOURCES, LOCAL, Catalog, Query, load_catalog
from gateway_metrics_mcp.query.time.zone_rules import describe_rules
from gateway_metrics_mcp.runtime.concurrency import (
    AbandonableThreads,
    limit_opening,
    run_with_heartbeat,
)
from gateway_metrics_mcp.settings import Settings

_OF_THE_WHOLE: Final = (
    SettingsError,
    UnauthorizedError,
    WrongHostError,
    TlsError,
    UnreachableError,
    BackendTimeoutError,
    RateLimitedError,
    UnavailableError,
)
"""Failures that affect every query to a gateway: reported once, and the others are skipped."""

_MOST_FAULTS: Final = 100

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one thing that was tried; as text, one line of the output."""

    what: str
    is_good: bool
    detail: str
    is_absent: bool = False
    """Whether the source has no table for the datasource."""

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_good else 'FAIL'}  {self.what}: {self.detail}"


async def check(settings: Settings, clock: Clock = lambda: datetime.now(UTC)) -> list[Finding]:
    """Open the backend and ask each datasource for its rows of the last 24 hours."""
    try:
        catalog = load_catalog(settings.catalog)
        backend, unread = await _open(settings, catalog, clock)
    except GatewayMetricsError as error:
        return [Finding("backend", is_good=False, detail=str(error))]
    findings = [Finding("backend", is_good=True, detail=backend.description)]
    if settings.is_remote:
        findings += [found async for found in _try_way((settings.backend or "").strip(), clock)]
    findings += [Finding("files", is_good=False, detail=text) for text in unread]
    try:
        findings += await _try_datasources(
            backend, clock(), is_remote=settings.is_remote, said=unread
        )
        if isinstance(backend, ExaminesTables):
            answered = {finding.what for finding in findings if finding.is_good}
            of = (catalog.datasources[name].table for name in DATASOURCES if name in answered)
            findings += [await _examine(backend, table) for table in dict.fromkeys(of)]
    finally:
        await backend.aclose()
    return findings


def check_rules() -> Finding:
    """Find the source of time zone rules: with old ones, days begin at wrong instants."""
    rules = describe_rules()
    lack = "no rules were found. Install the package tzdata"
    return Finding("time zones", is_good=rules is not None, detail=rules or lack)


def check_files(settings: Settings, messages: TextIO, *, is_whole: bool) -> list[Finding]:
    """Compare the files of a data directory with what `import` recorded, if the backend is one."""

    def compare(beat: Callable[[], None]) -> Comparison | None:
        directory = find_directory(settings)
        if directory is None:
            return None
        comparison = Comparison(directory, beat)
        comparison.compare(messages, most_bytes=None if is_whole else READ_UNASKED)
        return comparison

    try:
        comparison = run_with_heartbeat(settings.timeout, compare)
    except TimeoutError:
        detail = f"not compared: the storage has not answered for {settings.timeout:g} s"
        return [Finding("checksums", is_good=False, detail=detail)]
    if comparison is None:
        return []
    findings = [
        Finding(fault.name, is_good=False, detail=fault.reason)
        for fault in comparison.faults[:_MOST_FAULTS]
    ]
    summary, faults = comparison.summary(), len(comparison.faults)
    if faults:
        detail = f"{faults:,} not as import recorded{f', of {summary}' if summary else ''}"
        findings.append(Finding("checksums", is_good=False, detail=detail))
    elif summary:
        findings.append(Finding("checksums", is_good=True, detail=summary))
    return findings


async def _open(settings: Settings, catalog: Catalog, clock: Clock) -> tuple[Backend, list[str]]:
    """The backend, and what its directory has that no question reads.

    Raises:
        GatewayMetricsError: if it cannot be opened, or not within the time limit.
    """

    def work() -> tuple[Backend, list[str]]:
        return open_backend(settings, catalog, clock), find_unread(settings, catalog)

    with limit_opening(settings.timeout):
        return await AbandonableThreads().run(work, owner="the backend")


async def _try_way(host: str, clock: Clock) -> AsyncIterator[Finding]:
    """Findings on the way to a gateway: the proxy in use, and a wrong clock here."""
    from gateway_metrics_mcp.backends.gateway.backend import GatewayProbe  # a heavy door

    try:
        proxy = describe_proxy(host)
        if proxy is not None:
            yield Finding("proxy", is_good=True, detail=f"requests go through {proxy}")
        date = await GatewayProbe(host).read_clock()
    except (GatewayMetricsError, ValueError):
        return  # the queries below fail for the same reason and report it
    skew = timedelta() if date is None else clock() - date
    # With more, `today` and `last 24 hours` mean other times at the gateway.
    if abs(skew) > timedelta(minutes=5):
        minutes = round(abs(skew).total_seconds() / 60)
        side = "ahead of" if skew > timedelta() else "behind"
        yield Finding(
            "clock",
            is_good=False,
            detail=f"this machine's clock is {minutes} minutes {side} the gateway's: `today` and"
            " `last 24 hours` mean other times there. Set the clock by a time server (NTP)",
        )


async def _examine(backend: ExaminesTables, table: str) -> Finding:
    """What a table is, or which of its columns questions would be refused for."""
    try:
        return Finding(table, is_good=True, detail=await backend.examine(table))
    except GatewayMetricsError as error:
        return Finding(table, is_good=False, detail=str(error))


async def _try_datasources(
    backend: Backend, now: datetime, *, is_remote: bool, said: Sequence[str]
) -> list[Finding]:
    findings = []
    for datasource in DATASOURCES:
        start = now - timedelta(days=1)
        query = Query(datasource=datasource, type="distribution", start_ts=start, end_ts=now)
        try:
            findings.append(await _try(backend, query, said))
        except GatewayMetricsError as error:
            if is_remote and isinstance(error, _OF_THE_WHOLE):
                rest = " (the other datasources were not asked)" if findings else ""
                return [*findings, Finding("gateway", is_good=False, detail=f"{error}{rest}")]
            findings.append(Finding(datasource, is_good=False, detail=str(error)))
    # One missing table is normal: a directory holds what was imported. All missing is not.
    if all(finding.is_absent for finding in findings):
        findings.append(Finding("data", is_good=False, detail="none of the tables exists"))
    details = {finding.detail for finding in findings if not finding.is_good}
    if is_remote and len(details) == 1 and not any(finding.is_good for finding in findings):
        return [Finding("gateway", is_good=False, detail=f"{details.pop()} (all datasources)")]
    return findings


async def _try(backend: Backend, query: Query, said: Sequence[str]) -> Finding:
    """Count a datasource's rows; notes that were `said` of the whole are left out.

    Raises:
        GatewayMetricsError: if the backend fails.
    """
    result = await backend.query(query, LOCAL)
    rows = result.points[0].values[0] if result.points and result.value_names else 0
    detail = f"{rows} rows in the last 24 hours"
    noted = [note for note in result.notes if note not in said]
    notes = f" ({'; '.join(noted)})" if noted else ""
    return Finding(query.datasource, True, detail + notes, is_absent=result.is_absent)
