"""What `ask` writes for programs and documents: whole values, of their types, with what is said."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.ask.conftest import Ask, Server

DAY: Final = ("--start", "2026-07-01", "--end", "2026-07-02")
VALUES: Final = ("values", "metadata.id", *DAY)
TYPED: Final[tuple[Any, ...]] = ("007", "3.5", "true", "null", "", "-1", None, 'a|"b"\\', "x" * 300)


def list_rows(values: tuple[Any, ...] | list[Any]) -> list[dict[str, Any]]:
    """A row per value, the first the most frequent."""
    return [{"metadata.id": value, "total": 99 - n} for n, value in enumerate(values)]


def test_a_listed_value_keeps_its_type_and_its_length(gateway: Server, ask: Ask) -> None:
    gateway.rows = list_rows(TYPED)

    code, out, err = ask(*VALUES, "--format", "json")
    _, table, _ = ask(*VALUES, "--format", "csv")

    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["columns"] == ["value", "total"]
    assert answer["rows"] == [[value, 99 - n] for n, value in enumerate(TYPED)]
    assert answer["rowCount"] == len(TYPED)
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0] == ["value", "total"]
    assert [row[0] for row in rows[1:]] == [
        *("007", "3.5", "true", "null", "", "'-1", "", 'a|"b"\\', "x" * 300)
    ]
    assert table.splitlines()[5] == '"",95'  # an empty text, which is not a missing one
    assert table.splitlines()[7] == ",93"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(st.none() | st.text(max_size=400), min_size=1, max_size=5, unique=True))
def test_any_value_is_read_back(gateway: Server, ask: Ask, values: list[str | None]) -> None:
    gateway.rows = list_rows(values)

    code, out, _ = ask(*VALUES, "--format", "json")

    assert code == 0
    assert [row[0] for row in json.loads(out)["rows"]] == values


@pytest.mark.parametrize("flags", [(), ("--budget", "500")])
def test_the_rows_of_a_listing_are_those_that_were_asked_for(
    gateway: Server, ask: Ask, flags: tuple[str, ...]
) -> None:
    gateway.rows = list_rows([f"id-{n:03}{'x' * 20}" for n in range(90)])
    page = ("--search", "-0", "--offset", "2", "--limit", "50", *flags)

    _, out, _ = ask(*VALUES, *page, "--format", "json")
    _, table, err = ask(*VALUES, *page, "--format", "csv")

    answer = json.loads(out)
    assert [row[0] for row in answer["rows"]] == [f"id-{n:03}{'x' * 20}" for n in range(2, 52)]
    assert answer["notes"][-1] == "38 more: the same with --offset 52 --limit 50"
    assert table.splitlines()[1:] == [f"id-{n:03}{'x' * 20},{99 - n}" for n in range(2, 52)]
    assert err.splitlines()[-1] == f"# {answer['notes'][-1]}"


def test_values_of_a_file_hide_addresses(gateway: Server, ask: Ask) -> None:
    gateway.rows = list_rows(["ada@example.com", "007"])

    for format_ in ("csv", "json"):
        code, out, err = ask(*VALUES, "--hide-emails", "--format", format_)

        assert code == 0
        assert "@example" not in out + err
        assert "user-" in out


@pytest.mark.parametrize(
    ("question", "verdict", "table"),
    [
        (("distribution", "--by", "modelName"), "no traffic in this window", "modelName,total\n"),
        (
            ("timeseries", "--by", "modelName"),
            "no traffic in this window",
            "time,modelName,total\n",
        ),
        (("values", "modelName"), "no values: no rows in this window", "value,total\n"),
    ],
)
def test_a_csv_without_rows_says_why_on_stderr(
    gateway: Server, ask: Ask, question: tuple[str, ...], verdict: str, table: str
) -> None:
    gateway.rows, gateway.all = [], {"total": 0}

    code, out, err = ask(*question, *DAY, "--format", "csv")

    assert (code, out) == (0, table)
    assert any(line.startswith(f"# {verdict}") for line in err.splitlines())
    assert "ALL row" not in err


def test_stderr_names_the_partial_buckets_of_a_csv(gateway: Server, ask: Ask) -> None:
    times = {"startTimestamp": "2026-07-01T00:00:00Z", "endTimestamp": "2026-07-01T11:59:59Z"}
    gateway.all = {**times, "total": 4}

    code, _, err = ask(
        *("timeseries", "--start", "2026-07-01T02:00", "--end", "2026-07-01T18:00"),
        *("--interval", "12 hours", "--format", "csv"),
    )

    assert code == 0
    assert "# the last bucket is partial, cut by the window: only to 2026-07-01T18:00Z" in err


def test_names_are_whole_in_json_but_for_a_budget(gateway: Server, ask: Ask) -> None:
    gateway.rows = [{"modelName": "x" * 200, "total": 1}]
    question = ("distribution", *DAY, "--by", "modelName", "--format", "json")

    _, whole, _ = ask(*question)
    _, cut, _ = ask(*question, "--budget", "2000")

    assert json.loads(whole)["rows"] == [["x" * 200, 1]]
    assert json.loads(cut)["rows"] == [["x" * 128 + "…(+72)", 1]]


# The right side is what a renderer of GitHub's tables shows as the left one.
@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("__init__", r'"\_\_init\_\_"'),
        ("a_b", "a_b"),
        ("a__b", r"a\_\_b"),
        ("_", r'"\_"'),
        ('say "hi"', r'"say \\"hi\\""'),
        ("back\\slash", r'"back\\\\slash"'),
        ("a\\*b*", r'"a\\\\\*b\*"'),
        ("a|b", r'"a\|b"'),
        ("a\\|b", r'"a\\\\\|b"'),
        ("&lt;b&gt;", r'"\&lt;b\&gt;"'),
        ("R&D", '"R&D"'),
        ("x\u202ey", r'"x\\u202ey"'),
    ],
)
def test_a_markdown_cell_shows_the_cell_of_the_table(
    gateway: Server, ask: Ask, name: str, cell: str
) -> None:
    gateway.rows = [{"modelName": name, "total": 2}]

    _, out, _ = ask("distribution", *DAY, "--by", "modelName", "--format", "markdown")

    (row,) = [line for line in out.splitlines() if line.endswith("|     2 |")]
    assert row.removesuffix("|     2 |").strip("| ").rstrip() == cell
