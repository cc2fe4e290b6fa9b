"""The embedded engine's way with files, time, memory and many askers at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.access import LOCAL
from gateway_metrics_mcp.backends.duckdb import DuckDBBackend
from gateway_metrics_mcp.backends.files import find_files
from gateway_metrics_mcp.backends.guarding import guard
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    EngineError,
    GatewayMetricsError,
    QueryTooLargeError,
    SettingsError,
)
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.result import Result
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]

TABLE: Final = "gateway_model_metrics"
DAY: Final = datetime(2026, 7, 10, tzinfo=UTC)


# --- layouts ---


async def test_files_may_be_partitioned_or_not_or_mixed_or_nested_deeper(
    ask: Ask, write: Write
) -> None:
    folders = ("", "date=2026-07-10", "tenant=a/date=2026-07-10", "date=2026-07-10/hour=12/x")
    for folder in folders:
        write([{"InputTokens": 1}], folder=folder)

    assert await ask(aggregations=["sum inputTokens"]) == [{"total": 4, "sumInputTokens": 4}]


async def test_a_column_that_some_files_lack_is_null_in_their_rows(ask: Ask, write: Write) -> None:
    write([{"ModelName": "a", "InputTokens": 5, "Metadata": {"k": "v"}}], name="whole.parquet")
    write([{"ModelName": "b"}], name="old.parquet")

    rows = await ask(groupBy=["modelName", "metadata.k"], aggregations=["sum inputTokens"])

    assert rows == [
        {"modelName": "a", "metadata.k": "v", "total": 1, "sumInputTokens": 5},
        {"modelName": "b", "metadata.k": None, "total": 1, "sumInputTokens": None},
    ]


async def test_a_column_that_all_files_lack_is_null(ask: Ask, write: Write) -> None:
    write([{}])

    rows = await ask(
        groupBy=["team", "modelName", "metadata.k", "userEmail", "virtualaccount"],
        aggregations=["sum inputTokens", "p99 latencyMs", "countDistinct team", "avg costInUSD"],
    )

    assert rows == [
        {
            "team": None,
            "modelName": None,
            "metadata.k": None,
            "createdBySubjectSlug": None,
            "total": 1,
            "sumInputTokens": None,
            "p99LatencyMs": None,
            "countDistinctTeam": 0,
            "avgCostInUSD": None,
        }
    ]


@pytest.mark.parametrize(
    "column", ["date", "unnested_team", "total", "r", 'quo"ted', "Teams_1", "p0", "files"]
)
async def test_a_column_of_ones_own_is_ignored(ask: Ask, write: Write, column: str) -> None:
    write([{column: "x", "Teams": ["search"]}], folder="date=2026-07-10")

    assert await ask(groupBy=["team"]) == [{"team": "search", "total": 1}]


async def test_columns_may_be_spelt_in_another_case(ask: Ask, write: Write) -> None:
    write([{"modelname": "gpt-4o", "INPUTTOKENS": 5}], types={"INPUTTOKENS": "BIGINT"})

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert rows == [{"modelName": "gpt-4o", "total": 1, "sumInputTokens": 5}]


# --- types ---


@pytest.mark.parametrize(
    "type_", ["TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMPTZ"]
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
async def test_an_instant_of_any_precision_and_without_a_zone_reads_as_utc(
    data: Path,
    write_select: Write,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    zone: str,
) -> None:
    instant = "TIMESTAMP '2026-07-10 23:30:00'"
    instant = f"{instant} AT TIME ZONE 'UTC'" if type_ == "TIMESTAMPTZ" else instant
    write_select(data, f'SELECT ({instant})::{type_} AS "CreatedAt"')
    monkeypatch.setenv("TZ", zone)
    time.tzset()

    rows = await ask(interval="1 hour", startTs="2026-07-10T23:30:00Z")
    none = await ask(interval="1 hour", startTs="2026-07-10T23:30:01Z")

    monkeypatch.undo()
    time.tzset()
    assert [(row["startTimestamp"], row["total"]) for row in rows] == [
        ("2026-07-10T23:00:00.000Z", 1)
    ]
    assert none == []


@pytest.mark.parametrize(
    "type_", ["TINYINT", "INTEGER", "UBIGINT", "HUGEINT", "DECIMAL(12, 2)", "FLOAT", "DOUBLE"]
)
async def test_tokens_stored_in_another_numeric_type_stay_exact_integers(
    ask: Ask, write: Write, type_: str
) -> None:
    write([{"InputTokens": n} for n in (1, 2, None, 100)], types={"InputTokens": type_})
    functions = ("sum", "min", "max", "count", "countDistinct")

    (row,) = await ask(aggregations=[f"{name} inputTokens" for name in functions])

    assert list(row.values()) == [4, 103, 1, 100, 3, 3]
    assert {type(value) for value in row.values()} == {int}


async def test_files_may_disagree_on_the_type_of_a_number(ask: Ask, write: Write) -> None:
    for name, type_ in (("a", "INTEGER"), ("b", "DOUBLE"), ("c", "BIGINT")):
        write([{"InputTokens": 1}], name=f"{name}.parquet", types={"InputTokens": type_})

    (row,) = await ask(aggregations=["sum inputTokens"])

    assert row == {"total": 3, "sumInputTokens": 3}
    assert type(row["sumInputTokens"]) is int


async def test_nan_in_tokens_stored_as_double_is_null(ask: Ask, write: Write) -> None:
    tokens = [float("nan"), float("inf"), float("-inf"), 7.0]
    write([{"InputTokens": n} for n in tokens], types={"InputTokens": "DOUBLE"})

    rows = await ask(
        aggregations=[f"{name} inputTokens" for name in ("sum", "avg", "max", "p50", "count")]
    )

    assert rows == [
        {
            "total": 4,
            "sumInputTokens": 7,
            "avgInputTokens": 7.0,
            "maxInputTokens": 7,
            "p50InputTokens": 7.0,
            "countInputTokens": 1,
        }
    ]


async def test_numbers_stored_as_decimal_come_back_as_plain_numbers(ask: Ask, write: Write) -> None:
    write([{"CostInUSD": 0.25}, {"CostInUSD": 0.5}], types={"CostInUSD": "DECIMAL(18, 6)"})

    (row,) = await ask(aggregations=["sum costInUSD", "max costInUSD", "p50 costInUSD"])

    assert list(row.values()) == [2, 0.75, 0.5, 0.375]
    assert {type(value) for value in row.values()} == {int, float}


async def test_a_flag_stored_as_a_number_groups_and_filters_as_a_boolean(
    ask: Ask, write: Write
) -> None:
    write(
        [{"IsFailure": n} for n in (0, 0, 1, None)],
        table="gateway_request_metrics",
        types={"IsFailure": "INTEGER"},
    )

    rows = await ask(datasource="agentMetrics", groupBy=["isFailure"])
    failed = await ask(datasource="agentMetrics", filters=[("isFailure", "EQUAL", True)])

    assert [(row["isFailure"], row["total"]) for row in rows] == [(False, 2), (True, 1), (None, 1)]
    assert [type(row["isFailure"]) for row in rows] == [bool, bool, type(None)]
    assert failed == [{"total": 1}]


@pytest.mark.parametrize(
    ("column", "type_", "value"),
    [
        ("InputTokens", "VARCHAR", "many"),
        ("LatencyMs", "VARCHAR", "fast"),
        ("LatencyMs", "DOUBLE[]", [1.0]),
        ("CreatedAt", "VARCHAR", "yesterday"),
        ("CreatedAt", "BIGINT", 1_783_684_800_000),
        ("Teams", "INTEGER", 1),
        ("Teams", "VARCHAR", "search"),
        ("Metadata", "VARCHAR", "text"),
        ("Metadata", "VARCHAR[]", ["text"]),
    ],
)
async def test_a_column_of_the_wrong_type_is_said_without_a_path(
    ask: Ask, write: Write, data: Path, column: str, type_: str, value: object
) -> None:
    write([{column: value}], types={column: type_})

    with pytest.raises(EngineError, match=f"a column of {TABLE} is not of the published") as caught:
        await ask(groupBy=["team", "metadata.k"], aggregations=["sum inputTokens", "p50 latencyMs"])
    assert str(data) not in str(caught.value)


async def test_a_column_of_the_wrong_type_harms_no_question_that_leaves_it_out(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": "fast", "ModelName": "a"}], types={"LatencyMs": "VARCHAR"})

    assert await ask(groupBy=["modelName"]) == [{"modelName": "a", "total": 1}]


# --- which files are read ---


def listed(table: Path, start: datetime, end: datetime) -> list[str]:
    return [str(Path(name).relative_to(table)) for name in find_files(table, start, end)]


def touch(table: Path, *names: str) -> None:
    for name in names:
        path = table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_partitions_outside_the_window_and_a_day_around_it_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"date=2026-07-{day:02}/a.parquet" for day in range(1, 32)))

    found = listed(tmp_path, DAY, DAY + timedelta(days=1))
    hour = listed(tmp_path, DAY + timedelta(hours=12), DAY + timedelta(hours=13))

    assert found == [f"date=2026-07-{day:02}/a.parquet" for day in (9, 10, 11)]
    assert hour == [f"date=2026-07-{day:02}/a.parquet" for day in (9, 10, 11)]


async def test_a_broken_file_outside_the_window_is_never_opened(ask: Ask, write: Write) -> None:
    write([{"InputTokens": 1}], folder="date=2026-07-10")
    write([{}], folder="date=2026-07-07").write_bytes(b"no Parquet at all")
    write([{}], folder="date=2026-07-08").write_bytes(b"no Parquet at all")

    window = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-11T00:00:00Z"}

    assert await ask(**window) == [{"total": 1}]
    with pytest.raises(EngineError):
        await ask(startTs="2026-07-09T23:59:59Z", endTs="2026-07-11T00:00:00Z")


async def test_rows_on_the_other_side_of_midnight_from_their_partition_are_found(
    ask: Ask, write: Write
) -> None:
    early, late = DAY - timedelta(hours=11), DAY + timedelta(hours=35)
    write([{"CreatedAt": early}, {"CreatedAt": late}], folder="date=2026-07-10")

    first = await ask(startTs="2026-07-09T00:00:00Z", endTs="2026-07-10T00:00:00Z")
    last = await ask(startTs="2026-07-11T00:00:00Z", endTs="2026-07-12T00:00:00Z")

    assert (first, last) == ([{"total": 1}], [{"total": 1}])


def test_folders_that_are_no_date_are_entered_and_hidden_ones_are_not(tmp_path: Path) -> None:
    read = ("date=unknown/a.parquet", "date=__HIVE_DEFAULT_PARTITION__/a.parquet", "eu/a.parquet")
    passed = ("_temporary/a.parquet", ".tmp/a.parquet", ".a.parquet", "_a.parquet", "a.csv")
    touch(tmp_path, *read, *passed)

    assert sorted(listed(tmp_path, DAY, DAY + timedelta(days=1))) == sorted(read)


@pytest.mark.parametrize("character", list("*?[]{}"))
@pytest.mark.parametrize("place", ["{}.parquet", "x{}/a.parquet"])
async def test_a_name_with_a_wildcard_is_refused_rather_than_left_out(
    ask: Ask, write: Write, character: str, place: str
) -> None:
    folder, _, name = place.replace("{}", character).rpartition("/")
    write([{}], name="a.parquet")
    write([{}], folder=folder, name=name)

    with pytest.raises(EngineError, match="in its name"):
        await ask()


@pytest.mark.parametrize("character", list("*?[]{}"))
async def test_a_data_directory_with_a_wildcard_in_its_path_is_refused(
    engine: Open, tmp_path: Path, character: str
) -> None:
    directory = tmp_path / f"da{character}ta" / "deeper"
    directory.mkdir(parents=True)

    with pytest.raises(SettingsError, match="would read as a pattern"):
        engine(directory)


async def test_a_missing_data_directory_is_refused(engine: Open, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        engine(tmp_path / "absent")


async def test_a_memory_limit_that_the_engine_refuses_is_an_error_of_the_settings(
    engine: Open,
) -> None:
    with pytest.raises(SettingsError, match=r"embedded engine cannot be opened: .*Memory"):
        engine(memory_limit="much")


async def test_a_link_out_of_the_data_directory_is_said_and_not_followed(
    ask: Ask, write: Write, write_rows: Write, tmp_path: Path, data: Path
) -> None:
    write([{}])
    outside = write_rows(tmp_path / "outside", [{}], name="secret.parquet")
    (data / TABLE / "link.parquet").symlink_to(outside)

    with pytest.raises(EngineError, match="link") as caught:
        await ask()
    assert "secret" not in str(caught.value)


async def test_a_linked_folder_is_said_and_its_rows_are_not_silently_left_out(
    ask: Ask, write: Write, data: Path
) -> None:
    write([{}], folder="date=2026-07-10")
    (data / TABLE / "date=2026-07-11").symlink_to(data / TABLE / "date=2026-07-10")

    with pytest.raises(EngineError, match="link") as caught:
        await ask()
    assert str(data) not in str(caught.value)


async def test_a_folder_that_cannot_be_listed_is_said(ask: Ask, write: Write, data: Path) -> None:
    write([{}], table="gateway_mcp_metrics")
    (data / TABLE).symlink_to(TABLE)  # a link to itself: an error for root as well

    with pytest.raises(EngineError, match=f"{TABLE} cannot be listed") as caught:
        await ask()
    assert str(data) not in str(caught.value)


async def test_a_file_that_has_gone_is_said(ask: Ask, write: Write, data: Path) -> None:
    write([{}])
    (data / TABLE / "gone.parquet").symlink_to(data / TABLE / "absent.parquet")

    with pytest.raises(EngineError, match=f"a Parquet file of {TABLE} cannot be read") as caught:
        await ask()
    assert str(data) not in str(caught.value)


# --- nothing there ---


async def _result(backend: DuckDBBackend, query: Query) -> Result:
    return await backend.query(query, LOCAL)


async def test_an_empty_directory_answers_with_nothing_and_says_so(
    engine: Open, make_query: Make
) -> None:
    backend = engine()

    result = await _result(backend, make_query(aggregations=["sum inputTokens"]))

    assert [point.values for point in result.points] == [(0, None)]
    assert result.notes == (
        f"the data directory has no table {TABLE}: nothing of this datasource was ever loaded",
    )


async def test_a_table_without_files_of_the_window_needs_no_note(
    engine: Open, write: Write, make_query: Make
) -> None:
    write([{}], folder="date=2026-05-01")

    result = await _result(engine(), make_query())

    assert [point.values for point in result.points] == [(0,)]
    assert result.notes == ()


async def test_rows_that_come_while_the_engine_is_open_are_found(ask: Ask, write: Write) -> None:
    before = await ask()
    write([{}])

    assert (before, await ask()) == ([{"total": 0}], [{"total": 1}])


async def test_rows_from_the_instant_until_are_hidden(engine: Open, ask: Ask, write: Write) -> None:
    write([{"CreatedAt": DAY + timedelta(hours=hour)} for hour in range(24)])

    backend = engine(until=lambda: DAY + timedelta(hours=6))

    assert await ask(backend) == [{"total": 6}]
    assert await ask(backend, startTs="2026-07-11T00:00:00Z") == [{"total": 0}]


# --- time, cancellation, memory, many at once ---


HEAVY_COLUMNS: Final = ("LatencyMs", "TimeToFirstTokenMs", "InterTokenLatencyMs", "CostInUSD")
HEAVY: Final[dict[str, Any]] = {
    "groupBy": ["team"],
    "aggregations": [
        f"{name} {column[:1].lower()}{column[1:]}"
        for column in HEAVY_COLUMNS
        for name in ("countDistinct", "p50", "p99")
    ],
}
"""Takes several seconds: every value of a million rows is another."""
LIGHT: Final[dict[str, Any]] = {"datasource": "mcpMetrics", "groupBy": ["method"]}
LIGHT_ROWS: Final = [{"method": "tools/call", "total": 2}, {"method": "initialize", "total": 1}]


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory, write_select: Write, write_rows: Write) -> Path:
    directory = tmp_path_factory.mktemp("heavy")
    numbers = [f'hash(i + {k}) / 1e9 AS "{name}"' for k, name in enumerate(HEAVY_COLUMNS)]
    made = "TIMESTAMPTZ '2026-07-10 00:00:00+00' + to_milliseconds(i)"
    columns = [f'{made} AS "CreatedAt"', *numbers, "['a', 'b', 'c'] AS \"Teams\""]
    write_select(directory, f"SELECT {', '.join(columns)} FROM range(1_000_000) AS r(i)")  # noqa: S608 - our own
    methods = ("tools/call", "tools/call", "initialize")
    write_rows(directory, [{"Method": name} for name in methods], table="gateway_mcp_metrics")
    return directory


@pytest.fixture
async def heavy_engine(heavy: Path) -> AsyncIterator[DuckDBBackend]:
    backend = DuckDBBackend(heavy, load_catalog())
    yield backend
    await backend.aclose()


async def test_a_time_out_frees_the_engine_for_the_next_question_at_once(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, timeout_s=0.4, threads=1)  # one slot: whoever holds it blocks the rest

    for _ in range(2):
        started = anyio.current_time()
        with pytest.raises(BackendTimeoutError, match=r"no answer within 0\.4 s"):
            await ask(backend, **HEAVY)
        assert anyio.current_time() - started < 1.2
        assert await ask(backend, **LIGHT) == LIGHT_ROWS


async def test_a_cancelled_question_ends_within_a_second_and_harms_no_other(
    heavy_engine: DuckDBBackend, ask: Ask
) -> None:
    answers: list[list[Row]] = []

    async def ask_on(enough: anyio.Event) -> None:
        while not enough.is_set():
            answers.append(await ask(heavy_engine, **LIGHT))

    enough = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(ask_on, enough)
        started = anyio.current_time()
        with anyio.move_on_after(0.3) as scope:
            await ask(heavy_engine, **HEAVY)
        took = anyio.current_time() - started
        enough.set()

    assert scope.cancelled_caught
    assert took < 1.3
    assert answers
    assert all(rows == LIGHT_ROWS for rows in answers)


async def test_a_question_that_several_wait_for_is_interrupted_when_the_last_one_goes(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    settings = Settings(backend=str(heavy))
    bare = engine(heavy, threads=1)  # one slot: whoever holds it blocks the rest
    backend = guard(bare, settings, lambda: DAY, is_local=True)

    def worked_s() -> float:
        return time.process_time() - time.thread_time()  # the engine's threads alone

    begun = worked_s()
    asking = [asyncio.ensure_future(ask(backend, **HEAVY)) for _ in range(3)]
    with anyio.fail_after(10):
        while worked_s() - begun < 0.2:
            await anyio.wait_all_tasks_blocked()
    asking.pop(0).cancel()
    seen = worked_s()
    with anyio.fail_after(10):
        while worked_s() - seen < 0.2:  # it goes on for the others
            await anyio.wait_all_tasks_blocked()
    started = anyio.current_time()
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    light = await ask(bare, **LIGHT)
    took = anyio.current_time() - started

    assert all(task.cancelled() for task in asking)
    assert light == LIGHT_ROWS
    assert took < 1.3


async def test_a_question_cancelled_in_the_queue_never_starts_and_frees_its_place(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, threads=1)

    async def ask_heavy() -> None:
        await ask(backend, **HEAVY)

    async with anyio.create_task_group() as group:
        group.start_soon(ask_heavy)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.1) as queued:
            await ask(backend, **LIGHT)
        group.cancel_scope.cancel()

    assert queued.cancelled_caught
    assert await ask(backend, **LIGHT) == LIGHT_ROWS


async def test_a_cancellation_at_any_moment_is_a_cancellation_or_an_answer(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{"ModelName": f"m{n}"} for n in range(4000)])
    backend = engine(threads=8)
    outcomes: list[bool] = []

    async def ask_until(delay: float) -> None:
        with anyio.move_on_after(delay) as scope:
            assert len(await ask(backend, groupBy=["modelName"])) == 4000
        outcomes.append(scope.cancelled_caught)

    for turn in range(30):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ask_until, (turn * 8 + number) * 37 % 300 / 5000)

    assert set(outcomes) == {True, False}
    assert len(await ask(backend, groupBy=["modelName"])) == 4000


async def test_twenty_questions_at_once_each_get_their_own_answer(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{"ModelName": f"m{n}", "InputTokens": k} for n in range(20) for k in range(n + 1)])
    backend = engine(threads=4)
    answers: dict[int, list[Row]] = {}

    async def ask_one(number: int) -> None:
        answers[number] = await ask(
            backend,
            filters=[("modelName", "EQUAL", f"m{number}")],
            aggregations=["sum inputTokens"],
        )

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask_one, number)

    assert answers == {n: [{"total": n + 1, "sumInputTokens": n * (n + 1) // 2}] for n in range(20)}


async def test_too_little_memory_is_said_with_what_helps_and_ends_one_question_only(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, memory_limit="60MB")

    with pytest.raises(
        QueryTooLargeError, match=r"Ask a shorter window.* or raise the memory limit"
    ):
        await ask(backend, **HEAVY)
    assert await ask(backend, **LIGHT) == LIGHT_ROWS


# --- the directory for what does not fit into memory; closing ---


def list_directory(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


async def test_each_engine_spills_into_a_private_directory_of_its_own(
    engine: Open, temporary: Path
) -> None:
    first, second = engine(), engine()

    modes = [made.stat().st_mode & 0o777 for made in list_directory(temporary)]
    await first.aclose()
    left = list_directory(temporary)
    await second.aclose()

    assert modes == [0o700, 0o700]
    assert len(left) == 1
    assert list_directory(temporary) == []


async def test_without_any_temporary_directory_the_engine_works_in_memory(
    engine: Open, ask: Ask, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    write([{}])

    assert await ask(engine()) == [{"total": 1}]


async def test_closing_twice_is_once_and_a_closed_engine_answers_with_an_error_of_ours(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{}])
    backend = engine()
    await ask(backend)

    await backend.aclose()
    await backend.aclose()

    with pytest.raises(GatewayMetricsError, match="closed"):
        await ask(backend)
