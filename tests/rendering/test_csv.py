"""All rows as CSV: every digit, every column, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import math
import re
import string
import unicodedata
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.exports import write_csv
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report

MakeAsked = Callable[..., Report]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}
TWO_DAYS: Final = {"startTs": "2026-07-01", "endTs": "2026-07-03", "interval": "1 day"}
SIGNS: Final = "=+-@\uff1d\uff0b\uff0d\uff20"
PIECES: Final = st.sampled_from(
    [*SIGNS, *"\t\r\n\0 \"';,|\\%#", "\u00a0", "\u202e", "\u200b", "\ufeff", "\U000e0041", "a", "1"]
)
TEXTS: Final = st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=9)
KEYS: Final = TEXTS | st.none() | st.integers(-9, 9) | st.booleans()
VALUES: Final = st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_infinity=False)


def as_csv(asked: Report) -> str:
    """All rows of the report."""
    document = describe_report(asked)
    return write_csv(document.columns, document.records())


def test_a_distribution_is_all_its_rows_with_all_digits(make_asked: MakeAsked) -> None:
    rows = [
        {"modelName": "o4", "metadata.env": "dev", "total": 12, "sumCostInUSD": 20.123456789},
        {"modelName": None, "metadata.env": "dev", "total": 82, "sumCostInUSD": None},
        {"modelName": 'a, "b"', "metadata.env": "", "total": 3, "sumCostInUSD": 1e-07},
    ]
    question = {**WEEK, "groupBy": ["modelName", "metadata.env"]}
    asked = make_asked(rows, {**question, "aggregations": ["sum costInUSD"]}, totals={"total": 97})

    assert as_csv(asked) == (
        "modelName,metadata.env,total,sumCostInUSD\n"
        "o4,dev,12,20.123456789\n"
        '"a, ""b""","",3,1e-07\n'
        ",dev,82,\n"
    )


def test_a_unit_stands_in_the_heading_and_a_share_is_a_number(make_asked: MakeAsked) -> None:
    rows = [{"modelName": name, "total": 3, "sumPotentialCostSavings": 2.5} for name in "ab"]
    question = {**WEEK, "datasource": "cacheMetrics", "groupBy": ["modelName"]}
    wanted = ["sum potentialCostSavings", "share"]

    text = as_csv(
        make_asked(
            rows,
            {**question, "aggregations": wanted},
            totals={"total": 6, "sumPotentialCostSavings": 5.0},
        )
    )

    assert text == (
        "modelName,total,sumPotentialCostSavings (USD),share\na,3,2.5,0.5\nb,3,2.5,0.5\n"
    )


def test_a_distribution_keeps_to_the_rows_that_were_asked_for(make_asked: MakeAsked) -> None:
    rows = [{"modelName": f"m{n}", "total": 9 - n} for n in range(9)]

    text = as_csv(make_asked(rows, {**WEEK, "groupBy": ["modelName"], "limit": 2, "offset": 1}))

    assert text == "modelName,total\nm1,8\nm2,7\n"


def test_a_timeseries_has_a_row_per_bucket_and_series(make_asked: MakeAsked) -> None:
    rows = [
        {"startTimestamp": f"2026-07-0{day}T00:00:00Z", "modelName": name, "total": n} | latency
        for day, name, n, latency in (
            (1, "small", 1, {"p99LatencyMs": 7.25}),
            (2, "large", 5, {"p99LatencyMs": -1}),
        )
    ]
    question = {**TWO_DAYS, "groupBy": ["modelName"], "aggregations": ["p99 latencyMs"], "limit": 1}

    assert as_csv(make_asked(rows, question)) == (
        "time,modelName,total,p99LatencyMs\n"
        "2026-07-01T00:00:00+00:00,large,0,\n"
        "2026-07-01T00:00:00+00:00,small,1,7.25\n"
        "2026-07-02T00:00:00+00:00,large,5,-1\n"
        "2026-07-02T00:00:00+00:00,small,0,\n"
    )


def test_local_days_begin_at_local_midnight(make_asked: MakeAsked) -> None:
    rows = [{"startTimestamp": "2026-06-30T22:00:00Z", "total": 4}]

    text = as_csv(make_asked(rows, {**TWO_DAYS, "timezone": "Europe/Berlin"}))

    assert text == "time,total\n2026-07-01T00:00:00+02:00,4\n2026-07-02T00:00:00+02:00,0\n"


@pytest.mark.parametrize("question", [{"groupBy": ["modelName"]}, {"interval": "1 day"}])
def test_without_rows_there_is_a_header_alone(
    make_asked: MakeAsked, question: dict[str, Any]
) -> None:
    text = as_csv(make_asked([], {**WEEK, **question}))

    assert text == ("time,total\n" if "interval" in question else "modelName,total\n")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("-cmd", "'-cmd"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ('"=1', '"\'""=1"'),
        ("a;=1", '"a;\'=1"'),
        ('a;"=1', '"a;\'""=1"'),
        ("\t=1", "\\u0009=1"),
        ("a\nb,=1", '"a\\u000ab,=1"'),
        ("a\r\nALL", "a\\u000d\\u000aALL"),
        ("\u202egpt", "\\u202egpt"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("007", "007"),
        ("1e5", "1e5"),
        ("null", "null"),
        ("gpt-4o", "gpt-4o"),
        ("x@y.example", "x@y.example"),
    ],
)
def test_text_is_neither_a_formula_nor_a_row(make_asked: MakeAsked, name: str, cell: str) -> None:
    rows = [{"modelName": name, "total": -3}]

    text = as_csv(make_asked(rows, {**WEEK, "groupBy": ["modelName"]}))

    assert text == f"modelName,total\n{cell},-3\n"


@given(rows=st.lists(st.tuples(KEYS, KEYS, VALUES), max_size=6))
def test_each_row_is_read_back_cell_by_cell(
    make_asked: MakeAsked, rows: list[tuple[Any, Any, Any]]
) -> None:
    bodies = [{"metadata.a": a, "metadata.=b": b, "sumCostInUSD": v} for a, b, v in rows]
    question = {**WEEK, "groupBy": ["metadata.a", "metadata.=b"], "orderBy": "sumCostInUSD"}
    asked = make_asked(bodies, {**question, "aggregations": ["sum costInUSD"]})

    text = as_csv(asked)

    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(read) == text.count("\n") == len(rows) + 1
    assert len({len(cells) for cells in read}) == 1
    values = {cells[-1] for cells in read[1:]}
    finite = {v for *_, v in rows if v is not None and math.isfinite(v)}
    assert {float(value) for value in values if value} == {float(v) for v in finite}
    names = sorted(cell for cells in read[1:] for cell in cells[:2])
    assert len(names) == 2 * len(rows)
    for cell in names:
        assert all(unicodedata.category(letter)[0] != "C" for letter in cell)


@given(name=TEXTS)
def test_no_cell_of_text_begins_a_formula_however_it_is_split(
    make_asked: MakeAsked, name: str
) -> None:
    rows = [{"modelName": name, "total": 1}]

    line = as_csv(make_asked(rows, {**WEEK, "groupBy": ["modelName"]})).split("\n")[1]

    (cells,) = csv.reader([line])
    assert re.match(rf"\s*[{re.escape(SIGNS)}]", cells[0]) is None
    for part in line.split(";"):  # as a spreadsheet of a country that writes 1,5 splits it
        assert re.match(rf'[\s"]*[{re.escape(SIGNS)}]', part) is None


@given(name=st.text(string.ascii_letters + string.digits + "_./:", min_size=1))
def test_plain_names_stay_as_they_are(make_asked: MakeAsked, name: str) -> None:
    rows = [{"modelName": name, "total": 1}]

    text = as_csv(make_asked(rows, {**WEEK, "groupBy": ["modelName"]}))

    assert text == f"modelName,total\n{name},1\n"
