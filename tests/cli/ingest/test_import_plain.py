"""The short way that most texts take comes to the value that the strict way comes to."""

from __future__ import annotations

from importlib import resources
from typing import Final

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_metrics_mcp.cli.ingest.engine import set_zone

MOST: Final = 40
"""Texts of an example: a statement takes longer than many of them."""
DIGITS: Final = st.text("0123456789", min_size=1, max_size=22)
SIGNS: Final = st.sampled_from(["", "", "-", "+"])
NUMBERS: Final = st.builds(
    "".join,
    st.tuples(
        SIGNS,
        st.sampled_from(["", "0", "00"]),
        DIGITS,
        st.sampled_from(["", "", ".", ".5", ".50", ".0", "e5", "E-3", "_1", " ", "\t", "x", "%"]),
    ),
)
PARTS: Final = (
    ["1970", "1969", "2026", "2024", "2999", "3000", "0000", "9999", "12026", "-044"],
    ["-"],
    ["01", "02", "07", "12", "13", "00", "7"],
    ["-"],
    ["01", "02", "10", "28", "29", "30", "31", "32", "00"],
    ["T", "T", " ", "t", "  ", ""],
    ["00", "09", "12", "23", "24", "7"],
    [":"],
    ["00", "30", "59", "60"],
    ["", ":00", ":07", ":59", ":60", ":5", "00"],
    ["", ".5", ",5", ".123456", ".1234567", ".123456789", ".999999999", ".", ".1234567890"],
    ["", " "],
    *[
        [
            "Z",
            "z",
            "",
            "UTC",
            "+00",
            "-00:00",
            "+01:00",
            "-0530",
            "+14:00",
            "+14:59",
            "+15:00",
            "Z ",
        ]
    ],
)
TIMES: Final = st.tuples(*map(st.sampled_from, PARTS)).map("".join)
WORDS: Final = st.sampled_from(
    ['"a"', '""', "null", "1", "1.50", "true", '"é"', '{"k": 1}', '["x", null]', '" b "', "[]", "x"]
)
LISTS: Final = st.lists(WORDS, max_size=4).map(lambda words: f"[{', '.join(words)}]")
PAIRS: Final = st.tuples(st.sampled_from(['"a"', '"b"', '"A"', '""', "c"]), WORDS)
MAPS: Final = st.lists(PAIRS.map(": ".join), max_size=4).map(lambda all_: f"{{{', '.join(all_)}}}")
BLANKS: Final = st.sampled_from(["", "", "", " ", "\t", "\n", "\u00a0"])
KINDS: Final = {
    "integer": NUMBERS,
    "bigint": NUMBERS,
    "double": NUMBERS,
    "boolean": st.sampled_from(["true", "false", "True", "FALSE", "0", "1", "yes", ""]),
    "instant": TIMES,
    "list": LISTS | MAPS | NUMBERS,
    "map": MAPS | LISTS,
    "map_of_lists": MAPS | LISTS,
}


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect(config={"threads": 1})
    engine.execute("SET TimeZone = 'UTC'")
    set_zone(engine, None)
    package = resources.files("gateway_metrics_mcp.cli.ingest")
    engine.execute(package.joinpath("reading.sql").read_text("utf-8"))
    return engine


@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_value_is_the_strict_one(engine: duckdb.DuckDBPyConnection, kind: str) -> None:
    texts = st.builds("".join, st.tuples(BLANKS, KINDS[kind], BLANKS))

    @given(st.lists(texts, min_size=1, max_size=MOST))
    @example(["2026-07-01T00:00:00Z", "1", "1.5", "true", "[]", "{}"])
    def compare(listed: list[str]) -> None:
        found = engine.execute(
            f"""
            SELECT t, quick::VARCHAR, strict::VARCHAR
            FROM (
                SELECT t, quick_{kind}(t) AS quick, read_{kind}(filled(t)) AS strict
                FROM (SELECT unnest($texts) AS t)
            )
            WHERE quick IS NOT NULL AND quick IS DISTINCT FROM strict
            """,  # noqa: S608 - our own
            {"texts": listed},
        ).fetchall()
        assert found == []

    compare()


def test_plain_texts_take_the_short_way(engine: duckdb.DuckDBPyConnection) -> None:
    plain = {
        "instant": ["2026-07-01T00:00:00.123456Z", "2026-07-01 12:00:00+02:00"],
        "bigint": ["0", "-12", str(2**63 - 1)],
        "double": ["0.00012", "12", "-1.5"],
        "boolean": ["true", "false"],
        "list": ["[]", '["a", "b"]'],
        "map": ["{}", '{"a": "b", "c": 1}'],
    }
    for kind, texts in plain.items():
        for text in texts:
            query = f"SELECT quick_{kind}($text) IS NOT NULL"
            assert engine.execute(query, {"text": text}).fetchall() == [(True,)], text
