"""Names made by anyone stay data: no answer changes its shape, and each name can be read back."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cells import unquote_text

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.vocabulary import DATASOURCES

BORDER: Final = re.compile(r"(?<!\\)\|")
CUT: Final = re.compile(r"…\(\+\d+\)$")
WEEK: Final = {"startTs": "2026-07-08", "endTs": "2026-07-15"}
BOTH: Final = {"startTs": "2026-07-01", "endTs": "2026-07-15"}
LARGE: Final = 12_000

CORPUS: Final[list[str]] = json.loads((Path(__file__).parent / "corpus.json").read_text("utf-8"))

# What the names would like to stand on a line of its own.
LINES: Final = re.compile(r"\\n|[\n\r\v\f\x85\u2028\u2029]")
FORGED: Final = tuple(
    line
    for name in json.loads((Path(__file__).parent / "corpus.json").read_text("utf-8"))
    for line in LINES.split(name)
    if line.startswith(("# ", "## ", "ALL|", "total: ", "---|", "|"))
)

BOUND: Final = re.compile(r"p\d+ = ")
PLAIN: Final = re.compile(
    r'# |no rows |[A-Za-z_.%]+: |metadata\.[^"|]+: |"metadata\.(?:[^"\\]|\\.)*"(?:…\(\+\d+\))?: '
)
"""A line of an answer without a table."""

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]


@pytest.fixture(scope="module", params=["auto", pytest.param("legacy", marks=pytest.mark.thorough)])
async def call(
    request: pytest.FixtureRequest, hostile: Path, serve: Callable[..., Any]
) -> AsyncIterator[Call]:
    async with serve(hostile, mode=request.param, budget=LARGE) as call:
        yield call


async def answer(call: Call, tool: str, **arguments: Any) -> str:
    text, is_error = await call(tool, arguments)
    assert not is_error, text
    assert_seen(text)
    return text


def assert_seen(text: str) -> None:
    """Nothing is in the text that a reader or a terminal would not show."""
    hidden = {c for c in text if c != "\n" and unicodedata.category(c)[0] == "C"}
    assert hidden == set()
    assert set(re.findall(r"\s", text)) <= {" ", "\n"}
    # Nothing that a host which renders a copy would load; `<key>` is ours.
    assert re.search(r"!\[|\]\(|<(?!key>)[a-zA-Z/!?]", text) is None
    assert re.search("[\u2028\u2029\u3164\u2800\u115f\ufe0f\u034f\U000e0100]", text) is None
    rule = re.compile(r"---(\|---)*")
    lines = [line for line in text.split("\n") if not rule.fullmatch(line)]
    assert [line for line in lines if line.startswith(FORGED)] == []


def tables(text: str) -> list[list[list[str]]]:
    """The tables of an answer, rows of cells; every other line is a note or a heading."""
    found: list[list[list[str]]] = []
    lines = text.split("\n")
    is_in = False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("# "):
            is_in = False
        elif line.startswith("## "):
            assert re.fullmatch(r"## [A-Za-z0-9]+(?: \(\w+\))?", line), line
            is_in = False
        elif re.fullmatch(r"---(?:\|---)*", following) and not is_in:
            found.append([BORDER.split(line)])
            is_in = True
        else:
            assert is_in, line
            found[-1].append(BORDER.split(line))
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}
    return found


def keys_of(table: Sequence[Sequence[str]], column: int = 0) -> list[str]:
    """The texts behind the cells of a column, without our own last rows."""
    rows = [row for row in table[2:] if row[0] != "ALL" and not row[0].startswith("other (")]
    return [row[column] for row in rows]


def assert_names(cells: Sequence[str], names: Sequence[str]) -> None:
    """Each cell reads back as one of the names, whole or cut, and none appears twice."""
    whole = {unquote_text(cell) for cell in cells if not CUT.search(cell) and cell != "null"}
    assert whole <= set(names)
    for cell in cells:
        if CUT.search(cell):
            begun = unquote_text(CUT.sub("", cell))
            assert [name for name in names if name.startswith(begun) and name != begun], cell
    assert len(whole) + sum(bool(CUT.search(c)) for c in cells) + ("null" in cells) == len(cells)


FIELDS: Final = [
    (name, field, dimension.table_column)
    for name in DATASOURCES
    for field, dimension in load_catalog().datasources[name].group_by.items()
    if dimension.type == "string" and field not in ("createdBySubjectType", "virtualModel")
] + [(name, "metadata.env", "Metadata") for name in DATASOURCES]


@pytest.mark.parametrize(("datasource", "field"), [pair[:2] for pair in FIELDS])
async def test_a_table_of_names_has_their_rows_and_no_other(
    call: Call, corpus: Sequence[str], datasource: str, field: str
) -> None:
    seen: list[str] = []
    count = "1"
    while len(seen) < int(count):
        text = await answer(
            call,
            "query_distribution",
            datasource=datasource,
            groupBy=[field],
            offset=len(seen),
            **BOTH,
        )
        (table,) = tables(text)
        found = re.search(r" \| rows \d+-\d+ of (\d+)$", text.split("\n")[0])
        assert found is not None
        count = found[1]
        assert keys_of(table)
        seen += keys_of(table)

    assert_names(seen, corpus)
    assert len(seen) > len(corpus) / 6


async def test_two_windows_compared_keep_their_columns_and_name_who_came_and_went(
    call: Call, corpus: Sequence[str]
) -> None:
    text = await answer(
        call,
        "query_distribution",
        groupBy=["modelName"],
        aggregations=["sum inputTokens"],
        compareTo="previous",
        **WEEK,
    )

    (table,) = tables(text)
    assert_names(keys_of(table), corpus)
    for word in ("new", "vanished"):
        (line,) = [line for line in text.split("\n") if line.startswith(f"# {word}, with no row")]
        listed = line.split(": ", 1)[1]
        names = re.findall(r'"(?:[^"\\]|\\.)*"(?:…\(\+\d+\))?|[^\s,"]+', listed.split(" and ")[0])
        assert len(names) >= 1
        for name in names:
            if name.startswith('"') and not CUT.search(name):
                assert unquote_text(name) in corpus


async def test_exact_answers_have_the_same_shape(call: Call, corpus: Sequence[str]) -> None:
    text = await answer(
        call,
        "query_distribution",
        groupBy=["userEmail", "team", "metadata.env"],
        format="exact",
        **BOTH,
    )

    (table,) = tables(text)
    for column in range(3):
        assert {
            unquote_text(cell)
            for cell in keys_of(table, column)
            if not CUT.search(cell) and cell != "null"
        } <= {*corpus, "team"}


@pytest.mark.parametrize("compared", [{}, {"compareTo": "previous"}])
async def test_json_has_the_exact_names(
    call: Call, corpus: Sequence[str], compared: dict[str, str]
) -> None:
    found: list[str] = []
    following: dict[str, Any] | None = {}
    while following is not None:
        text = await answer(
            call,
            "query_distribution",
            groupBy=["errorCode"],
            format="json",
            **WEEK,
            **compared,
            **following,
        )
        body = json.loads(text)
        assert all(len(row) == len(body["columns"]) for row in body["rows"])
        found += [row[0] for row in body["rows"]]
        following = body["next"]

    short = {name for name in corpus if len(name) <= 128}
    assert {name for name in found if not CUT.search(name)} <= short
    assert len(found) == len(set(found))
    whole = {name for number, name in enumerate(corpus) if number % 3 != 1} & short
    # Those of virtual models stand on their own side.
    assert whole & {*found} if compared else len({*found} & whole) > len(whole) / 3


async def test_a_timeseries_has_a_column_for_each_of_its_series(
    call: Call, corpus: Sequence[str]
) -> None:
    for offset in range(0, len(corpus), 8):
        names = list(corpus[offset : offset + 8])
        filters = [{"fieldName": "modelName", "operator": "IN", "value": names}]
        text = await answer(
            call,
            "query_timeseries",
            groupBy=["modelName"],
            filters=filters,
            aggregations=["sum inputTokens"],
            interval="1 week",
            **BOTH,
        )

        for table in tables(text):
            headings = [cell for cell in table[0][1:] if not cell.startswith("other (")]
            assert_names(headings, corpus)


@pytest.mark.parametrize("field", ["modelName", "userEmail", "team", "metadata.env", "metadata"])
async def test_a_list_has_a_line_for_each_value(
    call: Call, corpus: Sequence[str], field: str
) -> None:
    seen: list[str] = []
    count = 1
    while len(seen) < count:
        text = await answer(call, "list_values", field=field, offset=len(seen), **BOTH)
        (table,) = tables(text)
        found = re.search(r" \| rows \d+-\d+ of (\d+)$", text.split("\n")[0])
        assert found is not None
        count = int(found[1])
        seen += keys_of(table)

    assert_names(seen, [*corpus, "team", "env", "key"])


async def test_the_request_explained_has_the_exact_values(
    call: Call, corpus: Sequence[str]
) -> None:
    for name in (name for name in corpus if len(name) < 240):
        filters = [{"fieldName": "modelName", "operator": "EQUAL", "value": [name]}]
        text = await answer(
            call,
            "query_distribution",
            format="explain",
            filters=filters,
            groupBy=[f"metadata.{name or 'env'}"],
            **WEEK,
        )

        bound = [line.partition(" = ") for line in text.split("\n") if BOUND.match(line)]
        assert name in [json.loads(value) for *_, value in bound], text
        steps = [line for line in text.split("\n") if line.startswith("#")]
        assert steps[-1] == "## 1. the rows; ALL is added up from them", text


@pytest.mark.parametrize("format_", ["table", pytest.param("json", marks=pytest.mark.thorough)])
async def test_a_key_of_any_name_stays_one_name(
    call: Call, corpus: Sequence[str], format_: str
) -> None:
    for name in (name for name in corpus if 0 < len(name) < 240):
        field = f"metadata.{name}"
        filters = [{"fieldName": field, "operator": "STRING_NOT_CONTAINS", "value": "zzz"}]
        asked = {"groupBy": [field], "filters": filters, "format": format_, **BOTH}
        for question in (asked, asked | {"compareTo": "previous"}):
            text = await answer(call, "query_distribution", **question)
            if format_ == "json":
                assert json.loads(text)["columns"][0] == field
            else:
                rest = [line for line in text.split("\n") if not BORDER.search(line)]
                assert [line for line in rest if not PLAIN.match(line)] == []
                tables(text) if "\n---" in text else None


async def test_a_key_of_any_name_is_listed_and_searched(call: Call, corpus: Sequence[str]) -> None:
    for name in filter(None, corpus):
        field = f"metadata.{name}"
        for search in ({}, {"search": name}):
            text, is_error = await call("list_values", {"field": field, **search, **BOTH})
            assert_seen(text)
            assert is_error == (len(name) > 256), text
            assert is_error or len(text.split("\n")) <= 12


async def test_what_is_near_a_wrong_name_is_quoted(call: Call, corpus: Sequence[str]) -> None:
    for name in corpus:
        if len(name.strip()) < 4 or len(name) > 60:
            continue
        wrong = f"{name[:-1]}q"
        filters = [{"fieldName": "modelName", "operator": "IN", "value": [wrong, "gpt\u20114o"]}]
        text = await answer(
            call, "query_distribution", groupBy=["modelName"], filters=filters, **BOTH
        )

        assert all(PLAIN.match(line) for line in text.split("\n")), text


@pytest.mark.parametrize("measure", ["errorRate", "blockRate", "cacheHitRate"])
async def test_spellings_of_values_that_are_listed_are_quoted(call: Call, measure: str) -> None:
    for datasource in DATASOURCES:
        text, is_error = await call(
            "query_distribution",
            {"datasource": datasource, "aggregations": [measure], **BOTH},
        )
        assert_seen(text)
        assert is_error or all(PLAIN.match(line) for line in text.split("\n")), text


PARTS: Final[dict[str, dict[str, Any]]] = {
    "columns": {"type": "string", "tableColumn": "ModelName", "aggregations": ["count"]},
    "groupBy": {"type": "string", "tableColumn": "ModelName"},
    "filters": {"type": "string", "tableColumn": "ModelName", "operators": ["IN"]},
}


def write_catalogue(file: Path, names: Sequence[str], **more: str) -> Path:
    fields = {kind: dict.fromkeys(names, entry | more) for kind, entry in PARTS.items()}
    file.write_text(json.dumps({"datasources": {"modelMetrics": fields}}), "utf-8")
    return file


async def test_a_catalogue_of_the_users_own_cannot_forge_a_line(
    tmp_path: Path, hostile: Path, serve: Callable[..., Any], corpus: Sequence[str]
) -> None:
    taken = []
    for number, name in enumerate(corpus):
        file = write_catalogue(tmp_path / f"{number}.json", [name])
        with suppress(SettingsError):
            load_catalog(file)
            taken.append(name)
    assert 5 < len(taken) < len(corpus) / 2

    async with serve(hostile, catalog=write_catalogue(tmp_path / "own.json", taken)) as call:
        plain = await answer(call, "list_fields", datasource="modelMetrics")
        text, is_error = await call("list_values", {"field": "nothing near", **WEEK})

    assert is_error
    assert_seen(text)
    headings = ["## aggregations", "## measures", "## groupBy", "## filters", "## traps"]
    assert re.findall("^#+ .*", plain, re.MULTILINE)[1:] == headings


@pytest.mark.parametrize("unit", ["USD)\n# ALL is 0", "\u202e", "x" * 21])
def test_a_unit_of_the_users_own_is_short_and_plain(tmp_path: Path, unit: str) -> None:
    with pytest.raises(SettingsError, match="the unit of size is not valid"):
        load_catalog(write_catalogue(tmp_path / "own.json", ["size"], unit=unit))
