"""Hands a zone's rules to an import's database, whose macros turn local times into instants.

DuckDB has rules of its own, of another version than those by which questions find a day's start.
Here they are the same: query/time/zone_rules.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, LAST_YEAR
from gateway_metrics_mcp.query.time.zone_rules import offset_periods

if TYPE_CHECKING:
    import duckdb

# No clock is more than a day from UTC, so these hold every local time of the accepted years.
_START: Final = datetime(FIRST_YEAR - 1, 11, 1, tzinfo=UTC)
_END: Final = datetime(LAST_YEAR + 1, 3, 1, tzinfo=UTC)


def set_zone(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo | None) -> None:
    """Set the variables of `reading.sql`: `zone`, and `periods`, the zone's offsets by month.

    `periods` lists for each month of local time from 1969-12 on the periods of equal offset that
    reach into it: mostly one, two where the clocks change.
    """
    connection.execute("SET VARIABLE zone = $zone::VARCHAR", {"zone": zone and zone.key})
    # Without a zone a local time is refused, and UTC is its own zone.
    periods = [] if zone is None or zone.key == "UTC" else offset_periods(zone, _START, _END)
    connection.execute(
        f"""
        SET VARIABLE periods = (
            WITH period AS (
                SELECT unnest($start::TIMESTAMP[]) AS start, unnest($end::TIMESTAMP[]) AS "end",
                    to_seconds(unnest($seconds::BIGINT[])) AS ahead
            ),
            by_month AS (
                SELECT month, list(period ORDER BY start) AS periods
                FROM range(TIMESTAMP '{FIRST_YEAR - 1}-12-01', TIMESTAMP '{LAST_YEAR + 1}-02-01',
                    INTERVAL 1 MONTH) AS months(month)
                JOIN period
                    ON start + ahead < month + INTERVAL 1 MONTH AND "end" + ahead > month
                GROUP BY month
            )
            SELECT list(periods ORDER BY month) FROM by_month
        )
        """,
        {
            "start": [period.start.replace(tzinfo=None) for period in periods],
            "end": [period.end.replace(tzinfo=None) for period in periods],
            "seconds": [round(period.offset.total_seconds()) for period in periods],
        },
    )
