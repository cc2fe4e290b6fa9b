"""The rules of time zones: one source, whatever the system has."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from gateway_metrics_mcp.query.time.zone_rules import (
    describe_rules,
    list_zones,
    load_zone,
    offset_periods,
)

WINNIPEG: Final = "America/Winnipeg"
# Prints the rules in use and Winnipeg's offset, with or without the package.
TOLD: Final = """
import sys
if "without" in sys.argv:
    sys.modules["tzdata"] = None
from datetime import datetime
from gateway_metrics_mcp.query.time.zone_rules import describe_rules, list_zones, load_zone
print(describe_rules(), len(list_zones()))
print(datetime(2026, 11, 10, tzinfo=load_zone("America/Winnipeg")).utcoffset())
"""


def tell(system: Path, *words: str) -> list[str]:
    done = subprocess.run(  # noqa: S603 - this Python, our code
        [sys.executable, "-c", TOLD, *words],
        env={**os.environ, "PYTHONTZPATH": str(system)},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Zones of a system on which Winnipeg has the clocks of Tokyo."""
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "America").mkdir()
    (tmp_path / WINNIPEG).write_bytes(tokyo)
    (tmp_path / "tzdata.zi").write_text("# version 2019a\n# more\n", "utf-8")
    return tmp_path


def test_the_package_comes_before_the_system(system: Path) -> None:
    said, offset = tell(system)

    assert said == f"{describe_rules()} {len(list_zones())}"
    assert " of the package tzdata " in said
    assert offset == f"{datetime(2026, 11, 10, tzinfo=load_zone(WINNIPEG)).utcoffset()}"


def test_the_system_is_asked_where_the_package_is_missing(system: Path) -> None:
    assert tell(system, "without") == [
        "rules 2019a of the system, as there is no package tzdata 1",
        "9:00:00",
    ]


def test_winnipeg_stays_on_summer_time_from_2026() -> None:
    """The floor of the package in pyproject.toml has these rules."""
    winter = datetime(2026, 12, 1, tzinfo=load_zone(WINNIPEG))
    assert winter.utcoffset() == timedelta(hours=-5)


@pytest.mark.parametrize(
    "name",
    ["Asia/Gaza", "Australia/Lord_Howe", "Europe/Dublin", WINNIPEG, "UTC"],
)
def test_periods_of_equal_offset_are_those_of_the_zone(name: str) -> None:
    zone = load_zone(name)
    start, end = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)

    periods = offset_periods(zone, start, end)

    assert (periods[0].start, periods[-1].end) == (start, end)
    for one, other in pairwise(periods):
        assert one.end == other.start
        assert one.offset != other.offset
    for period in periods:
        length = period.end - period.start
        inside = [period.start + length * share / 20 for share in range(20)]
        inside.append(period.end - timedelta(seconds=1))
        assert {instant.astimezone(zone).utcoffset() for instant in inside} == {period.offset}


def test_an_end_of_a_period_of_offset_within_it_is_kept() -> None:
    start, end = datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 1, 13, tzinfo=UTC)
    (period,) = offset_periods(load_zone("Europe/Berlin"), start, end)
    assert (period.start, period.end, period.offset) == (start, end, timedelta(hours=2))
