"""`ask` gives the tools' answers, in the forms that terminals and scripts take."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp_types import TextContent
from tests.cells import unquote_text
from tests.cli.ask.conftest import Ask, Server

from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import read_settings

DAY: Final = ("--start", "2026-07-01", "--end", "2026-07-02")
BY_MODEL: Final = ("distribution", *DAY, "--sum", "costInUSD", "--by", "modelName")
HEADER: Final = (
    "# modelMetrics by modelName | 2026-07-01T00:00Z to 2026-07-02T00:00Z (1 day)"
    " | models only, virtual-model rows excluded"
    " | counts model calls, retries included, visible to this token"
    " | sorted by sumCostInUSD desc | rows 1-3 of 3 | acme prod"
)
PRICES: Final = (
    "# 6.0% of the calls, 3 of 50, have no price (often failed calls): spend is a lower bound"
)
SIGHT: Final = "# figures cover what this token may see"
TABLE: Final = f"""\
{HEADER}
{PRICES}
{SIGHT}
modelName|total|sumCostInUSD
---|---|---
gpt-4o|40|90.50
"claude\\|haiku"|7|9.25
own|3|null
ALL|50|99.75
"""
ALIGNED: Final = f"""\
{HEADER}
{PRICES}
{SIGHT}
modelName        total  sumCostInUSD
---------------  -----  ------------
gpt-4o              40         90.50
"claude\\|haiku"      7          9.25
own                  3          null
ALL                 50         99.75
"""
MARKDOWN: Final = f"""\
{HEADER[2:]}

{PRICES[2:]}

{SIGHT[2:]}

| modelName       | total | sumCostInUSD |
| --------------- | ----: | -----------: |
| gpt-4o          |    40 |        90.50 |
| "claude\\|haiku" |     7 |         9.25 |
| own             |     3 |         null |
| ALL             |    50 |        99.75 |
"""
CSV: Final = """\
modelName,total,sumCostInUSD
gpt-4o,40,90.5
claude|haiku,7,9.25
own,3,
"""


async def call(gateway: Server, arguments: dict[str, Any]) -> str:
    server = build_server(read_settings({}, gateway.environ))
    async with Client(server) as client:
        result = await client.call_tool("query_distribution", arguments)
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


def test_the_answer_is_the_tool_s(gateway: Server, ask: Ask) -> None:
    arguments = {
        "startTs": "2026-07-01",
        "endTs": "2026-07-02",
        "aggregations": ["sum costInUSD"],
        "groupBy": ["modelName"],
    }

    code, out, err = ask(*BY_MODEL)

    assert (code, out, err) == (0, TABLE, "")
    assert anyio.run(call, gateway, arguments) == TABLE.rstrip("\n")


@pytest.mark.parametrize(
    ("format_", "text"),
    [("table", TABLE), ("aligned", ALIGNED), ("markdown", MARKDOWN), ("csv", CSV)],
)
@pytest.mark.usefixtures("gateway")
def test_each_format_is_what_it_says(ask: Ask, format_: str, text: str) -> None:
    code, out, err = ask(*BY_MODEL, "--format", format_)

    assert (code, out) == (0, text)
    left = "# a CSV has no ALL row: use --format table"
    assert err.splitlines() == ([HEADER, PRICES, SIGHT, left] if format_ == "csv" else [])


@pytest.mark.usefixtures("gateway")
def test_json_is_for_programs(ask: Ask) -> None:
    code, out, err = ask(*BY_MODEL, "--format", "json")

    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["columns"] == ["modelName", "total", "sumCostInUSD"]
    assert answer["rows"] == [["gpt-4o", 40, 90.5], ["claude|haiku", 7, 9.25], ["own", 3, None]]
    assert answer["isComplete"]


@pytest.mark.usefixtures("gateway")
def test_one_row_is_a_value_a_line_and_a_table_in_markdown(ask: Ask) -> None:
    _, plain, _ = ask("distribution", *DAY, "--sum", "costInUSD")
    _, aligned, _ = ask("distribution", *DAY, "--sum", "costInUSD", "--format", "aligned")
    _, markdown, _ = ask("distribution", *DAY, "--sum", "costInUSD", "--format", "markdown")

    assert plain.splitlines()[-2:] == ["total: 50", "sumCostInUSD: 99.75"]
    assert aligned.splitlines()[-2:] == ["total            50", "sumCostInUSD  99.75"]
    assert markdown.splitlines()[-4:] == [
        "| name         | value |",
        "| ------------ | ----: |",
        "| total        |    50 |",
        "| sumCostInUSD | 99.75 |",
    ]


def test_columns_come_in_the_order_of_their_flags(gateway: Server, ask: Ask) -> None:
    code, out, _ = ask(
        *("distribution", *DAY, "--p99", "latencyMs", "--measure", "costPerRequest"),
        *("--sum", "outputTokens,inputTokens", "--count-distinct", "modelName"),
    )

    names = [line.partition(":")[0] for line in out.splitlines() if not line.startswith("# ")]
    assert code == 0
    assert names == [
        *("total", "p99LatencyMs", "costPerRequest (USD)"),
        *("sumOutputTokens", "sumInputTokens", "countDistinctModelName"),
    ]
    assert gateway.bodies


def test_a_screen_gets_1000_rows_and_a_file_all(gateway: Server, ask: Ask) -> None:
    gateway.rows = [{"modelName": f"m{i:04}", "total": 5000 - i} for i in range(2500)]
    gateway.all = {"total": 9_376_250}
    question = ("distribution", *DAY, "--by", "modelName")

    _, screen, _ = ask(*question)
    _, rest, _ = ask(*question, "--offset", "2000", "--limit", "1000")
    _, small, _ = ask(*question, "--budget", "500")
    _, file, _ = ask(*question, "--format", "csv")
    _, program, _ = ask(*question, "--format", "json")

    assert len([line for line in screen.splitlines() if line.startswith("m")]) == 1001
    assert screen.splitlines()[-1] == "# 1500 more rows: the same with --offset 1000 --limit 1000"
    assert len([line for line in rest.splitlines() if line.startswith("m0")]) == 0
    assert len([line for line in rest.splitlines() if line.startswith("m2")]) == 500
    assert len(small) < 2500
    assert "gateway-metrics://" not in screen + small + program  # no client here reads a resource
    assert len(file.splitlines()) == 2501
    assert len(json.loads(program)["rows"]) == 2500


@pytest.mark.usefixtures("gateway")
def test_values_and_fields_are_asked_alike(ask: Ask) -> None:
    code, out, err = ask("values", "modelName", *DAY, "--format", "csv")
    assert (code, out) == (0, "value,total\ngpt-4o,40\nclaude|haiku,7\nown,3\n")
    assert err.startswith("# modelMetrics values of modelName | 2026-07-01T00:00Z")

    code, out, err = ask("values", "--field", "modelName", *DAY, "--format", "json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["rows"] == [["gpt-4o", 40], ["claude|haiku", 7], ["own", 3]]

    code, out, err = ask("fields", "cacheMetrics")
    assert (code, err) == (0, "")
    assert out.startswith("# cacheMetrics: ")

    code, out, _ = ask("fields")
    assert out.startswith("# datasources; ask fields with one of them for its fields\n")


def test_a_timeseries_as_csv_has_a_row_per_bucket_and_group(gateway: Server, ask: Ask) -> None:
    times = {"startTimestamp": "2026-07-01T00:00:00Z", "endTimestamp": "2026-07-01T12:00:00Z"}
    gateway.rows = [{**times, "modelName": f"m{i}", "total": 20 - i} for i in range(10)]

    code, out, _ = ask(
        *("timeseries", *DAY, "--interval", "12 hour", "--by", "modelName", "--format", "csv"),
    )

    _, aligned, _ = ask(
        *("timeseries", *DAY, "--interval", "12 hour", "--by", "modelName", "--limit", "1"),
        *("--format", "aligned"),
    )

    rows = list(csv.reader(io.StringIO(out)))
    assert aligned.splitlines()[-4:] == [
        "time              m0  other (9)",
        "----------------  --  ---------",
        "2026-07-01 00:00  20        135",
        "12:00              0          0",
    ]
    assert code == 0
    assert rows[:2] == [["time", "modelName", "total"], ["2026-07-01T00:00:00+00:00", "m0", "20"]]
    assert len(rows) == 1 + 2 * 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(names=st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=5, unique=True))
def test_no_name_breaks_a_row(gateway: Server, ask: Ask, names: list[str]) -> None:
    gateway.rows = [{"modelName": name, "total": i + 1} for i, name in enumerate(names)]
    gateway.all = {"total": 10_000}
    question = ("distribution", *DAY, "--by", "modelName", "--format")

    _, plain, _ = ask(*question, "table")
    _, aligned, _ = ask(*question, "aligned")
    _, markdown, _ = ask(*question, "markdown")

    sums = [str(len(names) - i) for i in range(len(names))]
    data = [line for line in aligned.splitlines() if not line.startswith("# ")][2:-1]
    assert [line.rsplit(maxsplit=1)[1] for line in data] == sums
    cells = [line for line in plain.splitlines() if not line.startswith("# ")][2:-1]
    assert [unquote_text(cell.rpartition("|")[0]) for cell in cells] == names[::-1]
    rows = [line for line in markdown.splitlines() if line.startswith("| ")][2:-1]
    assert [row.rstrip("| ").rsplit(maxsplit=1)[1] for row in rows] == sums


@pytest.mark.usefixtures("gateway")
def test_nothing_in_a_markdown_cell_is_markup(gateway: Server, ask: Ask) -> None:
    gateway.rows = [
        {"modelName": "<img src=x>", "total": 2},
        {"modelName": "[a](http://b) `c` *d* _e_", "total": 1},
    ]

    _, out, _ = ask("distribution", *DAY, "--by", "modelName", "--format", "markdown")

    assert r'"\\u003cimg src=x>"' in out
    assert r'"\[a\]\\u0028http://b) \`c\` \*d\* \_e\_"' in out


@pytest.mark.usefixtures("gateway")
def test_a_date_as_a_range_is_that_day(ask: Ask) -> None:
    _, day, _ = ask("distribution", "--range", "2026-07-01", *BY_MODEL[5:])
    _, days, _ = ask("distribution", "--range", "2026-07-01", "--end", "2026-07-04")
    _, same, _ = ask("distribution", "--start", "1 July 2026", "--end", "2 July 2026")
    _, since, _ = ask("distribution", "--start", "2026-07-01..")

    assert day == TABLE
    assert " | 2026-07-01T00:00Z to 2026-07-04T00:00Z (3 days) | " in days
    assert " | 2026-07-01T00:00Z to 2026-07-02T00:00Z (1 day) | " in same
    assert " | 2026-07-01T00:00Z to 2026-07-02" not in since


@pytest.mark.usefixtures("gateway")
def test_the_local_zone_is_that_of_the_machine(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    _, answer, _ = ask("distribution", "--range", "2026-07-01", "--timezone", "local")

    assert " | 2026-06-30T15:00Z to 2026-07-01T15:00Z (1 day, Asia/Tokyo) | " in answer


@pytest.mark.usefixtures("gateway")
def test_a_machine_without_a_named_zone_is_told_so(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "none/such")

    code, _, said = ask("distribution", "--range", "2026-07-01", "--timezone", "local")

    assert code == 2
    assert "--timezone: the zone of this machine has no name here" in said


PAGED: Final = ("--sum", "costInUSD", "--by", "modelName", "--limit", "1")
HINT: Final = re.compile(
    r"# \d+ more(?: rows?)?: the same (?:without ([^,]+), )?with (.+)", re.MULTILINE
)


def follow(argv: tuple[str, ...], hint: re.Match[str]) -> tuple[str, ...]:
    """The command line that the hint means: without some flags, and with others at its end."""
    words = list(argv)
    for flag in [] if hint[1] is None else hint[1].split(" and "):
        position = words.index(flag)
        del words[position : position + 2]
    return (*words, *shlex.split(hint[2]))


@pytest.mark.parametrize(
    ("argv", "left_out"),
    [
        (("distribution", "--range", "this year", *PAGED), "--range"),
        (("distribution", "--start", "now-36h", "--end", "now", *PAGED), "--start and --end"),
        (
            ("distribution", "--range", "this year", "--compare", "previous", *PAGED),
            "--range and --compare",
        ),
        (("distribution", "--range", "last month", "--compare", "previous", *PAGED), None),
        (("values", "modelName", "--range", "this year", "--limit", "1"), "--range"),
        (("values", "modelName", "--limit", "1"), None),
    ],
)
@pytest.mark.parametrize("format_", ["table", "csv"])
def test_the_hint_on_how_to_go_on_is_a_command_line(
    gateway: Server, ask: Ask, argv: tuple[str, ...], left_out: str | None, format_: str
) -> None:
    headers, rows, windows, page = [], [], [], argv
    for _ in range(3):
        gateway.bodies.clear()
        code, out, err = ask(*page, "--format", format_)
        assert code == 0, err
        said = out if format_ == "table" else err
        headers.append(said.split(" | rows ")[0])
        rows += re.findall('^"?(gpt-4o|claude|own)', out, re.MULTILINE)
        windows.append({(body["startTs"], body["endTs"]) for body in gateway.bodies})
        hint = HINT.search(said)
        if hint is not None:
            assert hint[1] == (left_out if page is argv else hint[1])
            page = follow(page, hint)

    assert headers == [headers[0]] * 3
    assert sorted(rows) == ["claude", "gpt-4o", "own"]
    assert windows == [windows[0]] * 3
    assert hint is None


def test_a_timeseries_file_has_all_series_but_for_a_limit(gateway: Server, ask: Ask) -> None:
    times = {"startTimestamp": "2026-07-01T00:00:00Z", "endTimestamp": "2026-07-02T00:00:00Z"}
    gateway.rows = [{**times, "modelName": f"m{i}", "total": 20 - i} for i in range(10)]
    question = ("timeseries", *DAY, "--interval", "1 day", "--by", "modelName")

    _, whole, said = ask(*question, "--format", "csv")
    _, cut, said_of_cut = ask(*question, "--limit", "2", "--format", "csv", "--budget", "500")
    _, program, _ = ask(*question, "--limit", "2", "--format", "json")

    rows = [row[1:] for row in csv.reader(io.StringIO(cut))]
    assert len(whole.splitlines()) == 11
    assert " | 10 series, largest total first | acme prod\n" in said
    assert rows == [["modelName", "total"], ["m0", "20"], ["m1", "19"]]
    assert " | top 2 of 10 series by total, the rest excluded | acme prod\n" in said_of_cut
    assert "fit" not in said_of_cut
    assert [row[1:] for row in json.loads(program)["rows"]] == [["m0", 20], ["m1", 19]]
