"""Text of third parties is data: one cell each, in which everything can be seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cells import unquote_text

from gateway_metrics_mcp.query import quote
from gateway_metrics_mcp.rendering.answer import write_answer
from gateway_metrics_mcp.rendering.cells import format_key, keep_on_line, quote_text
from gateway_metrics_mcp.rendering.exports import write_line
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report

Ask = Callable[..., Awaitable[str]]
MakeAsked = Callable[..., Report]

NASTY: Final = (
    "|\\\"'`#- \n\r\t\0\x1b\x7f\x85\u00a0\u00ad\u061c\u115f\u200b\u200d\u200e\u2028\u202e\u2066"
    "\u2800\u3000\u3164\ufe0f\ufeff\ufff9\ue000\U000e0041\U000e0100\U0001f642eé中a1"
)
TEXT: Final = st.text(st.sampled_from(NASTY) | st.characters(), max_size=80).filter(
    # Halves of a pair cannot stand side by side in what a gateway sends.
    lambda text: re.search("[\ud800-\udbff][\udc00-\udfff]", text) is None
)
CELL_BORDER: Final = re.compile(r"(?<!\\)\|")
WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}


@given(TEXT)
def test_a_cell_gives_back_its_text(text: str) -> None:
    assert unquote_text(quote_text(text)) == text


@given(st.text(st.sampled_from(NASTY) | st.characters()))
def test_everything_in_a_cell_can_be_seen(text: str) -> None:
    cell = quote_text(text)

    assert CELL_BORDER.search(cell) is None
    assert not cell.startswith(("#", " ", "-"))
    hidden = [c for c in cell if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029\u3164"]
    assert hidden == []
    assert set(re.findall(r"\s", cell)) <= {" "}


@given(st.text(st.sampled_from(NASTY) | st.characters()))
def test_a_note_stays_on_its_line(text: str) -> None:
    line = keep_on_line(text)

    assert len(line.splitlines()) <= 1
    assert [c for c in line if unicodedata.category(c)[0] == "C"] == []


MARKUP: Final = re.compile(r"!\[|\]\(|<[a-zA-Z/!?]")


@given(st.text(st.sampled_from('![](<a/\\|"…\n'), max_size=80))
def test_no_text_is_an_image_a_link_or_a_tag(text: str) -> None:
    shown = [quote_text(text), keep_on_line(text), quote(text), write_line([text])]

    assert [line for line in shown if MARKUP.search(line)] == []
    assert unquote_text(shown[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "openai/gpt-4o",
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "analyst-07@example.com",
        "Customer Support",
        "one two three",
        "Zürich",
        "数据",
        "a+b",
    ],
)
def test_what_reads_as_a_name_is_bare(text: str) -> None:
    assert quote_text(text) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", '""'),
        (" a", '" a"'),
        ("a  b", '"a  b"'),
        ("one two three four", '"one two three four"'),
        ("Search & Ranking", '"Search & Ranking"'),
        ("a|b", r'"a\|b"'),
        ("a\\|b", r'"a\\\|b"'),
        ('say "x"', r'"say \"x\""'),
        ("a\nb", r'"a\nb"'),
        ("# ALL", '"# ALL"'),
        ("---", '"---"'),
        ("other (3 rows)", '"other (3 rows)"'),
        ("ad\u202emin", r'"ad\u202emin"'),
        ("\U000e0041", r'"\udb40\udc41"'),
        ("\U0001f642", '"\U0001f642"'),
        ("_x", '"_x"'),
        ("![x](http://a.example/b.png)", r'"\u0021[x]\u0028http://a.example/b.png)"'),
        ("![x][y]", r'"\u0021[x][y]"'),
        (r"\![x](y)", r'"\\\u0021[x]\u0028y)"'),
        ("[x](http://a.example)", r'"[x]\u0028http://a.example)"'),
        ('<img src="x">', r'"\u003cimg src=\"x\">"'),
        ("<http://a.example>", r'"\u003chttp://a.example>"'),
        ("</a> <!-- -->", r'"\u003c/a> \u003c!-- -->"'),
        ("a < b! (c) [d]", '"a < b! (c) [d]"'),
    ],
)
def test_everything_else_is_quoted(text: str, cell: str) -> None:
    assert quote_text(text) == cell


@pytest.mark.parametrize("word", ["null", "true", "false", "ALL", "all", "other", "n/a", "NULL"])
def test_our_own_words_are_quoted(word: str) -> None:
    assert quote_text(word) == f'"{word}"'


def test_long_text_is_cut_and_the_rest_counted() -> None:
    assert quote_text("x" * 80) == "x" * 80
    assert quote_text("x" * 81) == f'"{"x" * 80}"…(+1)'
    assert quote_text("|" * 200) == '"' + r"\|" * 80 + '"…(+120)'


@pytest.mark.parametrize(
    ("key", "cell"),
    [(None, "null"), (True, "true"), (False, "false"), (7, "7"), (0.1, "0.1"), ("8", "8")],
)
def test_keys_that_are_no_text_stand_bare(key: str | float | None, cell: str) -> None:
    assert format_key(key) == cell


@given(st.lists(st.tuples(TEXT, TEXT | st.none()), min_size=2, max_size=6, unique=True))
def test_no_key_changes_the_shape_of_a_table(
    make_asked: MakeAsked, keys: list[tuple[str, str | None]]
) -> None:
    rows = [{"modelName": a, "metadata.x": b, "total": 1} for a, b in keys]
    rows.append({"modelName": "plain", "metadata.x": "plain", "total": 1})
    question = {**WEEK, "groupBy": ["modelName", "metadata.x"]}
    asked = make_asked(rows, question, totals={"total": len(rows)})

    head, columns, rule, *lines = write_answer(describe_report(asked), 12_000).text.split("\n")

    assert (head[:2], columns, rule) == ("# ", "modelName|metadata.x|total", "---|---|---")
    assert lines.pop() == f"ALL||{len(rows)}"
    cells = [CELL_BORDER.split(line) for line in lines]
    assert all(len(row) == 3 for row in cells)
    read = {tuple(None if c == "null" else unquote_text(c) for c in row[:2]) for row in cells}
    assert read == {*keys, ("plain", "plain")}


@given(st.lists(TEXT, min_size=1, max_size=5, unique=True))
def test_no_key_changes_the_shape_of_a_timeseries(make_asked: MakeAsked, keys: list[str]) -> None:
    start = "2026-07-01T00:00:00Z"
    rows = [{"startTimestamp": start, "modelName": key, "total": 1} for key in keys]
    question = {**WEEK, "interval": "1 week", "groupBy": ["modelName"]}

    lines = write_answer(describe_report(make_asked(rows, question)), 12_000).text.split("\n")

    columns, rule, *buckets = lines[lines.index("## total") + 1 :]
    assert rule.count("|") == len(keys)
    assert {unquote_text(cell) for cell in CELL_BORDER.split(columns)[1:]} == set(keys)
    assert [len(CELL_BORDER.split(line)) for line in buckets] == [len(keys) + 1] * len(buckets)


@given(TEXT)
async def test_a_filter_cannot_change_the_shape_of_the_header(ask: Ask, text: str) -> None:
    value = text.encode("utf-8", "replace").decode().replace("\0", "")
    filters = [{"fieldName": "metadata.x", "operator": "EQUAL", "value": [value]}]

    answer = await ask([{"total": 1}], {**WEEK, "filters": filters})

    head, *lines = answer.split("\n")
    assert lines == ["total: 1"]
    assert len(CELL_BORDER.split(head)) == 5


async def test_long_filters_are_told_by_their_length(ask: Ask) -> None:
    names = [f"model-with-a-long-name-{n:04}" for n in range(500)]
    filters = [{"fieldName": "modelName", "operator": "IN", "value": names}] * 1
    few = 'modelName IN ["model-with-a-long-name-0000", "model-with-a-long-name-0001"'

    text = await ask([{"total": 1}], {**WEEK, "filters": filters})

    assert f"| filter: {few}, " in text
    assert ", …(+490)]" in text
    assert len(text) < 800


async def test_many_filters_are_counted(ask: Ask) -> None:
    filters = [
        {"fieldName": f"metadata.key-{n}", "operator": "IN", "value": ["x" * 60] * 9}
        for n in range(40)
    ]

    text = await ask([{"total": 1}], {**WEEK, "filters": filters})

    assert '| filter: metadata.key-0 IN ["xxx' in text
    assert re.search(r" AND …\(\+\d+ filters\) \| ", text)
    assert len(text) < 1000
