"""What is written beside the vendor's columns holds what they hold: columns and rollups."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ldexp
from pathlib import Path
from typing import Any, Final

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.ingest.conftest import Data, open_engine

from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.duckdb.stored import (
    Family,
    Grain,
    decode_teams,
    encode_teams,
    families_of,
    find_family,
    has_team,
    metadata_column,
    metadata_key,
    parse_rollup,
    rollup_name,
)
from gateway_metrics_mcp.backends.sql.dialect import FINE_BITS, published_tables
from gateway_metrics_mcp.cli.ingest.days import Limits, write_day

Row = dict[str, Any]
TABLE: Final = "gateway_model_metrics"
DAY: Final = "2026-07-14"
START: Final = datetime(2026, 7, 14, tzinfo=UTC)
ALL: Final = Limits(least_rows=1, most_share=1000)
EXAMPLES: Final = settings().max_examples if settings().max_examples >= 500 else 12

# "K" and "k" would be one column to DuckDB, and so would be their like in Unicode.
names = st.sampled_from(
    ["", "a", 'a"b', "a,b", "a\\", "\\u002c", "a'b", "K", "\x00", "\x1f\n", "é", "\u2028", "🙂"]
) | st.text(st.characters(codec="utf-8"), max_size=8)
sizes = st.sampled_from([0.0, -0.0, 1e-9, 2.0**-32, 0.1, -3.7, 1e11, 5e-324, 1e300]) | st.floats(
    allow_nan=False, allow_infinity=False
)
usual_sizes = st.floats(1e-8, 1e6) | st.sampled_from([0.0, -0.0, 2.0**-32, -0.1])
tokens = st.integers(0, 10_000) | st.integers(-(2**63), 2**63 - 1)
subjects = st.fixed_dictionaries(
    {
        "CreatedBySubjectSlug": st.sampled_from(["ann", "bob", None]),
        "CreatedBySubjectType": st.sampled_from(["user", "virtualaccount"]),
        "Teams": st.none() | st.lists(st.none() | names, max_size=4),
        "Metadata": st.none() | st.dictionaries(names, names, max_size=3),
        "ModelName": st.sampled_from(["m-1", None]),
        "VirtualModelName": st.sampled_from([None, None, "v"]),
        "IsFailure": st.sampled_from([True, False, None]),
        "CacheLookupStatus": st.sampled_from(["hit", None]),
    }
)


@st.composite
def days(draw: st.DrawFn) -> list[Row]:
    """Rows of few kinds, so that some rollups pay and others do not."""
    kinds = draw(st.lists(subjects, min_size=1, max_size=4))
    number = st.sampled_from(["CostInUSD", "LatencyMs", "TimeToFirstTokenMs"])
    odd = draw(st.none() | number)
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "hour": st.sampled_from([0, 0, 0, 23]),
        "of_hour": st.integers(0, 3_599_999_999),
        "kind": st.sampled_from(kinds),
        "InputTokens": st.none() | draw(st.sampled_from([st.integers(0, 10_000), tokens])),
        "OutputTokens": st.integers(0, 10),
        "CacheReadInputTokens": st.none(),
        **{
            name: st.none() | (sizes if name == odd else usual_sizes)
            for name in ("CostInUSD", "LatencyMs", "TimeToFirstTokenMs")
        },
    }
    count = draw(st.sampled_from([30, 50, 4, 1]))
    rows = draw(st.lists(st.fixed_dictionaries(drawn), min_size=count, max_size=count))
    for row in rows:
        late = timedelta(hours=row.pop("hour"), microseconds=row.pop("of_hour"))
        row.update(row.pop("kind"), CreatedAt=START + late)
    return rows


def write(rows: Sequence[Row], folder: Path, limits: Limits = ALL, table: str = TABLE) -> Path:
    """Write a day of these rows; returns its folder."""
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(DuckDialect().create_table("given", published_tables()[table]))
        for row in rows:
            listed = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" for _ in row)
            statement = f"INSERT INTO given ({listed}) VALUES ({marks})"  # noqa: S608 - our own
            engine.execute(statement, [_bind(value) for value in row.values()])
        write_day(engine, "given", DAY, folder, table, limits)
    return folder / f"date={DAY}"


def _bind(value: object) -> object:
    """A value as a parameter; a map as its keys and values, which may be empty texts."""
    if not isinstance(value, dict):
        return value
    return {"key": [*value.keys()], "value": [*value.values()]}


def read(path: Path, columns: str = "*") -> list[Row]:
    source = "read_parquet($path, hive_partitioning = false)"
    found = open_engine().execute(f"SELECT {columns} FROM {source}", {"path": str(path)})  # noqa: S608 - our own
    header = [name for name, *_ in found.description or ()]
    return [dict(zip(header, row, strict=True)) for row in found.fetchall()]


def find_rollups(folder: Path, table: str = TABLE) -> dict[tuple[Grain, str], Path]:
    """The rollups of a day, by grain and family; each is of the rows beside it."""
    found = {}
    for path in folder.iterdir():
        rollup = parse_rollup(table, path.name)
        if rollup is not None:
            assert rollup.rows_bytes == (folder / "rows.parquet").stat().st_size
            found[rollup.grain, rollup.family.name] = path
    return found


def add_up(rows: Sequence[Row], grain: Grain, family: Family) -> dict[Any, list[Row]]:
    """The rows of a family by its keys, as Python has them."""
    groups = defaultdict(list)
    for row in rows:
        moment = row["CreatedAt"]
        start = START if grain == "day" else moment.replace(minute=0, second=0, microsecond=0)
        told = (None if row[name] is None else "" for name in family.coarse)
        groups[start, *(row[name] for name in family.dimensions), *told].append(row)
    return groups


def is_exact(rows: Sequence[Row], column: str) -> bool:
    """Whether all sums of a column are whole numbers of its units and fit."""
    values = [Fraction(row[column]) for row in rows if isinstance(row[column], float)]
    are_whole = all(abs(value) >= Fraction(ldexp(1, -32)) for value in values if value)
    return are_whole and sum(map(abs, values)) < 2**42


def compare(
    path: Path, groups: Mapping[Any, list[Row]], family: Family, day: Sequence[Row]
) -> None:
    found = {(row["CreatedAt"], *(row[name] for name in family.keys)): row for row in read(path)}
    assert found.keys() == groups.keys()
    assert sum(len(rows) for rows in groups.values()) == sum(row["#n"] for row in found.values())
    for key, rows in groups.items():
        assert found[key]["#n"] == len(rows)
        for measure in family.measures:
            assert (f"{measure}#n" in found[key]) == is_exact(day, measure)
            if f"{measure}#n" in found[key]:
                compare_measure(found[key], measure, [row[measure] for row in rows], family)


def compare_measure(row: Row, measure: str, given: Sequence[Any], family: Family) -> None:
    values = [value for value in given if value is not None]
    assert row[f"{measure}#n"] == len(values)
    unit = 2**FINE_BITS if any(isinstance(value, float) for value in values) else 1
    expected = sum(Fraction(value) for value in values) * unit if values else None
    assert row[f"{measure}#sum"] == expected
    if measure in family.extremes:
        assert row[f"{measure}#min"] == min(values, default=None)
        assert row[f"{measure}#max"] == max(values, default=None)


@settings(max_examples=EXAMPLES)
@given(rows=days())
def test_a_day_is_written_once_with_what_its_rows_add_up_to(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = write(rows, Path(temporary))
        written = read(folder / "rows.parquet")
        rollups = find_rollups(folder)
        compare_rows(rows, written)
        keys = [name for name in written[0] if metadata_key(name) is not None]
        for family in families_of(TABLE, keys):
            for grain in family.grains:
                groups = add_up(written, grain, family)
                pays = len(groups) * 4 <= len(rows)
                assert ((grain, family.name) in rollups) == pays
                if pays:
                    compare(rollups[grain, family.name], groups, family, written)


def compare_rows(rows: Sequence[Row], written: Sequence[Row]) -> None:
    """Compare the rows, and what they say of themselves."""
    columns = [name for name in published_tables()[TABLE] if name != "CreatedAt"]

    def listed(row: Row) -> str:
        time = row["CreatedAt"].astimezone(UTC)
        return repr([time, *(row.get(name) for name in columns)])

    assert sorted(map(listed, written)) == sorted(map(listed, rows))
    for row in written:
        teams = row["Teams"]
        assert (row["teams_key"] is None) == (teams is None)
        for column, value in row.items():
            if (key := metadata_key(column)) is not None:
                assert value == (row["Metadata"] or {}).get(key)


@settings(max_examples=EXAMPLES * 4)
@given(
    teams=st.none() | st.lists(st.none() | names, max_size=4), others=st.lists(names, max_size=4)
)
def test_a_teams_key_has_the_teams_and_no_others(
    teams: list[str | None] | None, others: list[str]
) -> None:
    asked = [*others, *(team for team in teams or () if team is not None)]
    key, again = encode_teams("$teams::VARCHAR[]"), decode_teams("key")
    query = f"""
        SELECT {again}, [{has_team("key", "asked")} FOR asked IN $asked::VARCHAR[]]
        FROM (SELECT {key} AS key)
    """  # noqa: S608 - our own
    given_ = {"teams": teams, "asked": asked}
    ((decoded, are_found),) = open_engine().execute(query, given_).fetchall()

    has = {team for team in teams or () if team is not None}
    assert decoded == (None if teams is None else sorted(has, key=str.encode))
    assert are_found == [team in has for team in asked]


@given(key=names)
def test_a_keys_column_is_that_keys_alone(key: str) -> None:
    column = metadata_column(key)
    if column is not None:
        assert column == column.lower()
        assert metadata_key(column) == key
        family = find_family(TABLE, f"meta-{column}")
        assert family is not None
        assert family.dimensions == (column,)


def test_names_of_keys_that_differ_by_case_alone_are_apart() -> None:
    assert metadata_column("team_1") == "md_team_1"
    assert metadata_column("Team_1") == "mdx_5465616d5f31"
    assert metadata_column("x" * 200) is None
    assert [metadata_key(name) for name in ("Metadata", "mdx_zz", "mdx_61", "teams_key")] == [
        None
    ] * 4


def test_a_rollups_name_says_what_it_is() -> None:
    name = rollup_name("hour", "meta-md_project", 255)
    assert name == "_hour-meta-md_project-ff.parquet"
    rollup = parse_rollup(TABLE, name)
    assert rollup is not None
    assert (rollup.grain, rollup.rows_bytes) == ("hour", 255)
    assert rollup.family.dimensions == ("md_project",)
    for other in (
        "_hour-other-ff.parquet",
        "_hour-meta-ff.parquet",
        "rows.parquet",
        "_week-dims-f",
    ):
        assert parse_rollup(TABLE, other) is None


def make_rows(count: int, keys: Mapping[str, int]) -> Iterator[Row]:
    """Rows a minute apart, with a metadata key for each, and its number of values."""
    for n in range(count):
        metadata = {key: f"v{n % values}" for key, values in keys.items() if values}
        yield {"CreatedAt": START + timedelta(seconds=n % 86_400), "Metadata": metadata}


def columns_of(path: Path) -> list[str]:
    return [name for name in read(path)[0] if metadata_key(name) is not None]


def test_a_key_in_few_rows_or_with_many_values_has_no_column(data: Data, tmp_path: Path) -> None:
    source = tmp_path / "calls.parquet"
    open_engine().execute(
        f"""
        COPY (
            SELECT TIMESTAMPTZ '{DAY} 00:00:00+00' + to_milliseconds(i) AS "CreatedAt",
                MAP {{'often': i % 9000, 'always': 1, 'unique': i,
                    CASE WHEN i % 99 = 0 THEN 'sometimes' ELSE 'Mostly' END: 1,
                    CASE WHEN i % 101 = 0 THEN 'seldom' ELSE 'mostly' END: 2}} AS "Metadata"
            FROM range(30000) AS t(i)
        ) TO '{source}'
        """  # noqa: S608 - our own
    )
    data.bring(source)

    (path,) = data.path.rglob("rows.parquet")
    assert columns_of(path) == [
        metadata_column(key) for key in ("always", "often", "mostly", "Mostly", "sometimes")
    ]


def test_only_the_most_frequent_keys_have_columns(tmp_path: Path) -> None:
    rows = list(make_rows(40, {}))
    for n, row in enumerate(rows):
        row["Metadata"] = {f"key{k:02}": "v" for k in range(40) if k <= n}

    folder = write(rows, tmp_path)

    assert columns_of(folder / "rows.parquet") == [f"md_key{k:02}" for k in range(24)]
    meta = [name for grain, name in find_rollups(folder) if grain == "day" and "meta-md" in name]
    assert sorted(meta) == [f"meta-md_key{k:02}" for k in range(8)]


def test_a_small_day_has_no_rollups_nor_has_one_in_which_no_two_rows_are_alike(
    tmp_path: Path,
) -> None:
    rows = list(make_rows(100, {}))
    assert not find_rollups(write(rows, tmp_path / "small", Limits(least_rows=101)))
    assert not find_rollups(write(rows, tmp_path / "large", Limits(1, most_share=0)))
    assert find_rollups(write(rows, tmp_path / "all"))


def test_each_table_has_rollups_and_its_rows_in_order(tmp_path: Path) -> None:
    for table, columns in published_tables().items():
        rows = [row | {"TraceId": "t", "Teams": ["a"]} for row in make_rows(50, {"k": 2})]

        folder = write(rows, tmp_path / table, table=table)

        families = {family.name for family in families_of(table, ["md_k"])}
        assert {name for _, name in find_rollups(folder, table)} == families
        written = read(folder / "rows.parquet")
        assert [*written[0]] == [*columns, "md_k", "teams_key"]
        assert {row["teams_key"] for row in written} == {',"a",'}


def test_what_a_call_is_passes_through_where_it_is_known(tmp_path: Path) -> None:
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(DuckDialect().create_table("given", published_tables()[TABLE]))
        engine.execute('INSERT INTO given ("CreatedAt") VALUES ($t)', {"t": START})
        known = "(SELECT *, TRUE AS has_call_id, 'f00' AS import_source, 1 AS other FROM given)"
        write_day(engine, known, DAY, tmp_path, TABLE)

    (row,) = read(tmp_path / f"date={DAY}" / "rows.parquet")
    derived = {name: value for name, value in row.items() if name not in published_tables()[TABLE]}
    assert [*derived] == ["has_call_id", "import_source", "teams_key"]
    assert derived["has_call_id"] is True
