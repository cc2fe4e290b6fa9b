"""The checks find a figure where it stands, and nowhere else."""

from __future__ import annotations

import pytest
from tests.questions.reading import find_row, is_figure, read_rows

TABLE = r"""# modelMetrics by userEmail, modelName, requestType | rows 1-3 of 9
# all rows: requestType=Chat, metadata.app=a b
# every userEmail ending in @ below continues with example.com: filters need it
userEmail|modelName|total|p50LatencyMs|speed (tokens/s)|errorRate
---|---|---|---|---|---
ada@|gpt-4o|12|0.2516|7|12.3%
bob@|"a\|b"|3|null|8|0%
null|gpt-4o|1|n/a|9|100%
other (6 rows)||4|n/a|n/a|n/a
ALL||20|0.3|7.5|1.2%
# 6 more rows: same arguments with offset=3"""

SERIES = """# modelMetrics timeseries by modelName | 2 buckets
## total
time|gpt-4o|other (4)
---|---|---
2026-07-01 00:00|1|2
01:00|3|4
## sumCostInUSD
time|gpt-4o|other (4)
---|---|---
2026-07-01 00:00|0.1|0.2
01:00 (partial)|0.3|0.4"""


def test_rows_are_found_by_their_keys_whatever_shape_those_have() -> None:
    rows = read_rows(TABLE)
    shared = {"requestType": "Chat", "metadata.app": "a b"}
    ada = find_row(rows, {"userEmail": "ada@example.com", **shared}, ["total"])
    assert (ada["total"], ada["speed"]) == ("12", "7")
    assert find_row(rows, {"modelName": "a|b"}, ["total"])["total"] == "3"
    assert find_row(rows, {"userEmail": None}, ["total"])["total"] == "1"
    assert find_row(rows, {"userEmail": "ALL"}, ["total"])["total"] == "20"


@pytest.mark.parametrize("keys", [{"modelName": "gpt"}, {"modelName": "gpt-4o"}, {"team": "x"}])
def test_no_row_and_several_rows_are_not_found(keys: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match="rows of"):
        find_row(read_rows(TABLE), keys, ["total"])


def test_one_row_is_read_from_its_lines() -> None:
    assert read_rows("# x\ntotal: 3\nspeed (tokens/s): 1.5") == [{"total": "3", "speed": "1.5"}]


def test_a_grouped_timeseries_is_read_by_time_and_series() -> None:
    keys = {"time": "2026-07-01 01:00", "series": "gpt-4o"}
    assert find_row(read_rows(SERIES), keys, ["sumCostInUSD"])["sumCostInUSD"] == "0.3"
    assert find_row(read_rows(SERIES), keys, ["total"])["total"] == "3"


@pytest.mark.parametrize(
    ("cell", "name", "expected"),
    [
        ("1234", "total", 1234),
        ("0.2516", "cost", 0.251_649),
        ("+12.34", "cost_change", 12.3421),
        ("12.3%", "errorRate", 0.1234),
        ("+532.1%", "cost_change%", 5.3211),
        ("+532.1", "cost_change%", 5.3211),
        ("null", "p50", None),
    ],
)
def test_a_figure_is_recognised(cell: str, name: str, expected: float | None) -> None:
    assert is_figure(cell, name, expected, is_exact=False)


@pytest.mark.parametrize(
    ("cell", "name", "expected", "is_exact"),
    [
        ("1234", "total", 1235, False),
        ("0.2516", "cost", 0.2519, False),
        ("0.2516", "cost", 0.251_649, True),
        ("12.3%", "errorRate", 0.1242, False),
        ("0", "p50", None, False),
        ("null", "p50", 0.0, False),
    ],
)
def test_a_wrong_figure_is_not(
    cell: str, name: str, expected: float | None, *, is_exact: bool
) -> None:
    assert not is_figure(cell, name, expected, is_exact=is_exact)
