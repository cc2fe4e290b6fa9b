"""The URI of all rows holds the question: what is read back is asked as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.rendering.report_document import pin_window
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)
from gateway_metrics_mcp.reports.rows_uri import LONGEST, ROWS, read_link, read_linked, write_link

Ask = Callable[..., Awaitable[str]]

NOW: Final = datetime(2026, 7, 15, 9, 30, 12, tzinfo=UTC)
LATER: Final = NOW + timedelta(days=400)
TERMS: Final = ParserOptions(load_catalog())
WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}

NAMES: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
FILTERS: Final = st.one_of(
    st.builds(
        lambda values, operator: {
            "fieldName": "modelName",
            "operator": operator,
            "value": values if operator in ("IN", "NOT_IN") else values[:1],
        },
        st.lists(NAMES, min_size=1, max_size=3),
        st.sampled_from(["IN", "NOT_IN", "EQUAL", "STRING_CONTAINS"]),
    ),
    st.builds(
        lambda key, value: {"fieldName": f"metadata.{key}", "operator": "IN", "value": [value]},
        NAMES,
        NAMES,
    ),
    st.builds(
        lambda number: {"fieldName": "latencyMs", "operator": "GREATER_THAN", "value": [number]},
        st.integers(0, 10**9) | st.floats(0, 1e9),
    ),
    st.sampled_from(
        [
            {"fieldName": "virtualModelName", "operator": "IS_NULL", "value": [False]},
            {"fieldName": "virtualModelName", "operator": "NOT_IN", "value": ["a"]},
            {"fieldName": "errorCode", "operator": "IS_NULL", "value": ["true"]},
            {"fieldName": "latencyMs", "operator": "BETWEEN", "value": ["1", "2.5"]},
        ]
    ),
)
COMMON: Final = {
    "startTs": st.sampled_from(
        [
            *("last 7 days", "now-90m", "this month", "today", "yesterday", "last Monday", "mtd"),
            *("2026-07-01", "2026-07-15", "2026-W20", "2026-07", "June 2026", "2026-07-01.."),
            *("2026-07-01T10:00", "2026-06-01..2026-06-07", "2026-05..2026-06", "2026-07-01T00:00"),
        ]
    ),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    "groupBy": st.lists(
        st.sampled_from(["modelName", "team", "userEmail", "virtualModel", "metadata.a b|'é"]),
        unique=True,
        max_size=3,
    ),
    "aggregations": st.lists(
        st.sampled_from(
            ["sum costInUSD", "p99LatencyMs", "count(modelName)", "errorRate", "share", "total"]
        ),
        unique=True,
        max_size=4,
    ),
    "filters": st.lists(FILTERS, max_size=3),
}
DISTRIBUTIONS: Final = st.fixed_dictionaries(
    COMMON,
    optional={
        "compareTo": st.sampled_from(
            [
                *("previous", "prev", "1 month", "1 week", "7d", "wow", "same day last week"),
                *("2025-06", "2026-02-03", "2026-W10", "2026-Q1", "2025", "3 Feb 2026"),
                *("2026-02-03..2026-02-09", "2026-02-03..2026-02-03", "2026-02..2026-03"),
                *("2026-02-03T10:00", "2026-02-03T10:00Z..2026-02-09T00:00Z", "now-60d"),
                *("yesterday", "last week", "last month", "last Friday", "last 7 days", "6 June"),
            ]
        ),
        "orderBy": st.sampled_from(["total", "-total"]),
        "limit": st.just(3),
    },
)
TIMESERIES: Final = st.fixed_dictionaries(
    COMMON | {"interval": st.sampled_from([None, "1 hour", "1 day", "1 week", "1 month"])}
)


def read(arguments: dict[str, Any]) -> ReportRequest | None:
    """None for the few drawn together that are no question."""
    try:
        is_timeseries = "interval" in arguments
        return (read_timeseries if is_timeseries else read_distribution)(arguments, TERMS, NOW)
    except InvalidQueryError:
        return None


def essence(question: ReportRequest) -> tuple[Any, ...]:
    """What decides which rows there are, and in which order."""
    earlier = question.earlier
    return (
        question.query,
        question.values,
        question.window.zone.key,
        None if earlier is None else (earlier.start, earlier.end),
        question.local,
        question.order_by,
        question.is_descending,
    )


@given(arguments=DISTRIBUTIONS | TIMESERIES)
def test_what_is_read_back_is_the_same_question_whenever_it_is_read(
    arguments: dict[str, Any],
) -> None:
    question = read(arguments)
    if question is None or (link := write_link(question)) is None:
        return

    again = read_linked(read_link(link), TERMS, LATER)

    assert essence(again) == essence(question)
    assert (again.limit, again.offset) == (None, 0)
    assert write_link(again) == link


@given(arguments=DISTRIBUTIONS)
def test_a_link_is_a_uri_that_clients_pass_on_as_it_is(arguments: dict[str, Any]) -> None:
    question = read(arguments)
    link = None if question is None else write_link(question)
    if link is None:
        return

    assert len(link) <= LONGEST
    # RFC 3986: a query string, in which no sign has to be encoded any more.
    signs = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})+"
    assert re.fullmatch(rf"gateway-metrics://rows\?{signs}", link)
    # What fills in the template, or is careful, encodes more.
    careful = f"{ROWS}?{urlencode(parse_qsl(link.partition('?')[2]), quote_via=quote, safe='')}"
    assert read_link(careful) == read_link(link)


ABSOLUTE: Final = st.fixed_dictionaries(
    {
        "startTs": st.sampled_from(["2026-07-01", "2026-06-28T10:00Z"]),
        "endTs": st.sampled_from(["2026-07-08", "2026-07-10T12:00Z"]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
        "compareTo": st.sampled_from(
            [
                *("previous", "1 month", "7 days", "2025-06", "2026-02-03", "2026-W10", "2026-Q1"),
                *("2026-02-03..2026-02-09", "2026-02-03T10:00Z..2026-02-09T00:00Z", "2025"),
                *("2026-02-03T10:00Z", "2026-02..2026-03", "2026-06-24..2026-07-01"),
            ]
        ),
    }
)
PERIODS: Final = st.fixed_dictionaries(
    {
        "startTs": st.sampled_from(
            ["2026-07-01", "2026-06", "2026-W20", "2026-Q2", "2025", "2026-07-01..2026-07-03"]
        ),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
    }
)


@given(arguments=ABSOLUTE | PERIODS)
def test_a_link_that_others_write_means_what_the_tool_means(arguments: dict[str, Any]) -> None:
    for now in (NOW, LATER):
        linked = read_linked(read_link(f"{ROWS}?{urlencode(arguments)}"), TERMS, now)

        assert essence(linked) == essence(read_distribution(arguments, TERMS, NOW))


@given(arguments=DISTRIBUTIONS, minutes=st.integers(0, 10**6))
def test_what_continues_compares_with_the_same_window(
    arguments: dict[str, Any], minutes: int
) -> None:
    question = read(arguments)
    if question is None:
        return
    later = NOW + timedelta(minutes=minutes)

    going_on = {**arguments, **pin_window(question)}

    again = read_distribution(going_on, TERMS, later)
    assert essence(again) == essence(question)


def test_a_link_reads_like_the_arguments() -> None:
    arguments = {**WEEK, "aggregations": ["sum costInUSD", "share"], "groupBy": ["modelName"]}
    filters = [{"fieldName": "modelName", "operator": "IN", "value": ["a,b", 'say "c"', "d"]}]
    question = read_distribution(
        {**arguments, "filters": filters, "compareTo": "1 week"}, TERMS, NOW
    )

    link = write_link(question)

    assert link == (
        "gateway-metrics://rows?aggregations=sum+costInUSD,share&groupBy=modelName"
        "&filters=modelName,IN,%22a,b%22,%22say+%22%22c%22%22%22,d"
        "&startTs=2026-07-01&endTs=2026-07-08&compareTo=2026-06-24T00:00Z..2026-07-01T00:00Z"
    )
    assert read_link(link) == {
        **arguments,
        "filters": filters,
        "compareTo": "2026-06-24T00:00Z..2026-07-01T00:00Z",
    }


def test_a_value_that_is_no_text_stays_so_in_a_field_that_the_catalog_lacks() -> None:
    options = ParserOptions(load_catalog(), allow_unknown=True)
    filters = [{"fieldName": "region", "operator": "EQUAL", "value": 5}]
    question = read_distribution({**WEEK, "filters": filters}, options, NOW)

    link = write_link(question)

    assert link is not None
    assert read_linked(read_link(link), options, NOW).query.filters[0].value == 5


def swapped(arguments: Any) -> str:
    """The URI in its earlier form: JSON in a path, its signs swapped for bare ones."""
    text = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    signs = str.maketrans("{}[]\" '()!;+", "()!;'+\"{}[] ")
    return f"{ROWS}/{quote(text.translate(signs), safe=chr(39) + '()!;+,:@$*=')}"


@given(arguments=DISTRIBUTIONS | TIMESERIES)
def test_links_of_the_earlier_form_still_name_the_same_rows(arguments: dict[str, Any]) -> None:
    question = read(arguments)
    link = None if question is None else write_link(question)
    if question is None or link is None or len(older := swapped(read_link(link))) > LONGEST:
        return

    assert essence(read_linked(read_link(older), TERMS, LATER)) == essence(question)


def test_a_link_of_the_earlier_form_reads_as_it_was_written() -> None:
    older = (
        "gateway-metrics://rows/('aggregations':!'sum+costInUSD','share';,'groupBy':!'modelName';,"
        "'startTs':'2026-07-01','endTs':'2026-07-08','compareTo':'2026-06-24..2026-07-01')"
    )

    assert read_link(older) == {
        **WEEK,
        "aggregations": ["sum costInUSD", "share"],
        "groupBy": ["modelName"],
        "compareTo": "2026-06-24..2026-06-30",  # then, the last day was excluded
    }


def test_a_long_question_has_no_link() -> None:
    names = [f"model-{n:04}" for n in range(200)]
    filters = [{"fieldName": "modelName", "operator": "IN", "value": names}]

    question = read_distribution({**WEEK, "filters": filters}, TERMS, NOW)

    assert write_link(question) is None
    assert write_link(replace(question, query=question.query.model_copy(update={"filters": ()})))


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        ({"startTs": "now-7d"}, ["startTs"]),
        ({"startTs": "last month", "endTs": None}, ["startTs", "endTs"]),
        ({"startTs": "2026-07-01T00:00Z", "endTs": None}, ["endTs"]),
        ({"startTs": "2026-07-01..", "endTs": None}, ["startTs", "endTs"]),
        ({"startTs": "yesterday", "endTs": None}, ["startTs", "endTs"]),
        ({"startTs": "2026-07-01T00:00", "limit": 3}, ['"limit"', "startTs"]),
        ({"compareTo": "last week"}, ["compareTo"]),
        ({"compareTo": "yesterday"}, ["compareTo"]),
        ({"compareTo": "now-30d"}, ["compareTo"]),
        ({"compareTo": "2026-06-01.."}, ["compareTo"]),
        ({"compareTo": "2026-06-01..now"}, ["compareTo"]),
        ({"compareTo": "2026-06-02..2026-06-01"}, ["compareTo"]),
        ({"compareTo": "2026-07-02..2026-07-03"}, ["compareTo"]),
        ({"compareTo": "2026-06-01..2026-06-08", "interval": "1 day"}, ['"compareTo"']),
        ({"format": "json"}, ['"format"']),
        ({"groupBy": ["modelNam"], "endTs": "now"}, ["endTs", "groupBy[0]"]),
        ({"aggregations": ["sum latencyM"]}, ["aggregations[0].column"]),
        ({"timezone": "Belrin"}, ["timezone"]),
        ({"startTs": 5, "endTs": ["x"]}, ["startTs", "endTs"]),
    ],
)
def test_what_is_no_such_question_is_refused_with_all_problems(
    wrong: dict[str, Any], places: list[str]
) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        read_linked({**WEEK, "groupBy": ["modelName"], **wrong}, TERMS, NOW)

    assert sorted({problem.place for problem in caught.value.problems}) == sorted(places)


@pytest.mark.parametrize("raw", [[], "x", 5, None, True])
def test_what_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(InvalidQueryError, match="expected an object"):
        read_linked(raw, TERMS, NOW)


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_time_means_the_same_on_every_server(zone: str | None) -> None:
    elsewhere = ParserOptions(load_catalog(), default_zone="Asia/Tokyo")

    question = read_linked({**WEEK, "timezone": zone}, elsewhere, NOW)

    assert question.query.start_ts == datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["distribution", "timeseries"])
@pytest.mark.parametrize("form", ["table", "exact", "json"])
async def test_only_what_is_cut_has_a_link(ask: Ask, kind: str, form: str) -> None:
    rows = [
        {"startTimestamp": "2026-07-01T00:00:00Z", "modelName": f"m{n}", "total": n + 1}
        for n in range(3)
    ]
    question = {**WEEK, "groupBy": ["modelName"], "format": form}
    if kind == "timeseries":
        question["interval"] = "1 week"

    whole = await ask(rows, question)
    cut = await ask(rows, {**question, "limit": 1})

    assert ROWS not in whole
    if form == "json":
        assert "csv" not in json.loads(whole)
        assert json.loads(cut)["csv"].startswith(ROWS)
    else:
        what = "all 3 rows" if kind == "distribution" else "all buckets of all series"
        assert cut.rsplit("\n", 1)[1].startswith(f"# {what} as CSV: resource {ROWS}?")


async def test_buckets_left_out_have_a_link(ask: Ask) -> None:
    rows = [
        {"startTimestamp": f"2026-07-0{1 + h // 24}T{h % 24:02}:00:00Z", "total": h + 10**9}
        for h in range(168)
    ]

    text = await ask(rows, {**WEEK, "interval": "1 hour"}, budget=600)

    more, link = text.split("\n")[-2:]
    assert "more buckets: same arguments with" in more
    assert link == (
        "# all buckets of all series as CSV: resource gateway-metrics://rows?startTs=2026-07-01"
        "&endTs=2026-07-08&interval=1+hour"
    )


@given(
    count=st.integers(2, 120), length=st.integers(1, 12), budget=st.sampled_from([500, 1000, 2000])
)
async def test_a_link_takes_no_more_room_than_its_own(
    ask: Ask, count: int, length: int, budget: int
) -> None:
    rows = [{"modelName": f"m{n}-{'x' * length}", "total": n} for n in range(count)]
    names = [f"model-{n}" * 4 for n in range(40)]  # too many for a link
    filters = [{"fieldName": "modelName", "operator": "IN", "value": names}]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName"]}, budget=budget)
    without = await ask(rows, {**WEEK, "groupBy": ["modelName"], "filters": filters}, budget=budget)

    assert ROWS not in without
    if ROWS in text:
        link = text.rsplit("\n", 1)[1]
        assert len(text.encode()) >= 0.7 * (len(without.encode()) - len(link))
