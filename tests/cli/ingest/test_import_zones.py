"""Local times of an import are instants by the rules by which questions find a day's start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gateway_metrics_mcp.query.time.zone import resolve_local
from gateway_metrics_mcp.query.time.zone_rules import load_zone, offset_periods

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Write = Callable[..., Path]

MINUTES: Final = (-121, -61, -60, -31, -30, -1, 0, 29, 60)
YEARS: Final = (1970, 1985, 2011, 2020, 2026, 2027, 2037, 2038, 2086, 2100, 2500, 2998)


def walls(name: str) -> Iterator[datetime]:
    """Local times, without a zone, on both sides of each change of these years."""
    zone = load_zone(name)
    for year in YEARS:
        start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        for period in offset_periods(zone, start, end):
            for minutes in MINUTES:
                wall = (period.start + period.offset).replace(tzinfo=None)
                yield wall + timedelta(minutes=minutes)
                yield wall + timedelta(minutes=60 + minutes)


@pytest.mark.parametrize(
    "name",
    [
        "Africa/Monrovia",  # 44 minutes and 30 seconds behind until 1972
        "America/Winnipeg",
        "Asia/Gaza",
        "Australia/Lord_Howe",
        "Europe/Dublin",
        "Pacific/Apia",
    ],
)
def test_a_local_time_is_the_instant_that_questions_take_it_for(
    data: Data, csv: Write, name: str
) -> None:
    zone = load_zone(name)
    times = [wall for wall in dict.fromkeys(walls(name)) if wall.year >= 1970]
    expected, skipped = [], 0
    for wall in times:
        instant = resolve_local(wall.replace(tzinfo=zone))
        # A skipped time means the end of the gap to a question, and is refused by an import.
        if instant.astimezone(zone).replace(tzinfo=None) != wall:
            skipped += 1
        elif instant.year >= 1970:
            expected.append(f"{instant:%Y-%m-%d %H:%M:%S}")

    done = data.bring(csv("CreatedAt\n" + "".join(f"{w}\n" for w in times)), "--timezone", name)

    text = """strftime("CreatedAt", '%Y-%m-%d %H:%M:%S')"""
    assert sorted(time for (time,) in data.rows(text)) == sorted(expected)
    assert (f"{skipped} refused: CreatedAt: skipped by the clocks of {name}" in done.out) == (
        skipped > 0
    )


def test_local_times_of_the_accepted_years_are_read_and_others_refused(
    data: Data, csv: Write
) -> None:
    good = ["1969-12-31T19:00", "2999-12-31T18:59:59.999999"]
    bad = ["1969-12-31T18:59", "1969-11-30T12:00", "2999-12-31T19:00", "3000-02-01T00:00"]

    done = data.bring(csv("\n".join(["CreatedAt", *good, *bad])), "--timezone", "America/New_York")

    assert "4 refused: CreatedAt: not between 1970 and 2999" in done.out
    assert len(data.rows()) == 2


def test_a_day_of_a_zone_whose_rules_differ_in_the_system_loses_no_rows(tmp_path: Path) -> None:
    """Tokyo's clocks stand in for a system's old rules of Winnipeg."""
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    system = tmp_path / "zoneinfo"
    (system / "America").mkdir(parents=True)
    (system / "America" / "Winnipeg").write_bytes(tokyo)
    path = tmp_path / "calls.csv"
    times = (f"2026-11-10 {hour:02}:30\n" for hour in range(24))
    path.write_text("CreatedAt\n" + "".join(times), "utf-8")
    data = str(tmp_path / "data")

    def run(*words: str) -> str:
        done = subprocess.run(  # noqa: S603 - this Python, our code
            [sys.executable, "-m", "gateway_metrics_mcp", *words],
            env={**os.environ, "PYTHONTZPATH": str(system)},
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    zone = ("--timezone", "America/Winnipeg")
    run("import", str(path), "--into", data, *zone)
    words = ("--range", "2026-11-10", "--format", "csv", *zone)
    answer = run("ask", "distribution", "--backend", data, *words)

    assert answer.splitlines()[-1] == "24"
