"""Other engines, kept and asked like a build of this package: hand-written SQL on the same rows.

`hand` is DuckDB over the same Parquet files, with the columns that `import` adds where a person
would use them. The others know the published columns alone: DuckDB's own format (`native`), chdb
over Parquet and over a MergeTree table, Polars and DataFusion. All use two threads. A question
about whole days reads the Parquet files of these days without a condition on time.
`copy` is what an import is compared with.
Usage: PYTHON benchmarks/peers.py ENGINE [DATA_DIRECTORY FOLDER], as store.py starts it; the
environment of PYTHON needs duckdb, and chdb, polars or datafusion.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from askers import serve

TABLE: Final = "gateway_model_metrics"
THREADS: Final = 2
Count = Callable[[str, Sequence[str]], int]
"""How many rows the answer to a question about some days has."""
COLUMNS: Final = {
    "CreatedAt": "DateTime64(6, 'UTC')",
    "ModelName": "LowCardinality(Nullable(String))",
    "VirtualModelName": "LowCardinality(Nullable(String))",
    "InputTokens": "Int64",
    "OutputTokens": "Int64",
    "LatencyMs": "Float64",
    "CostInUSD": "Nullable(Float64)",
    "IsFailure": "Bool",
    "Metadata": "Map(LowCardinality(String), String)",
    "CreatedBySubjectSlug": "LowCardinality(Nullable(String))",
    "CreatedBySubjectType": "LowCardinality(Nullable(String))",
    "Teams": "Array(LowCardinality(String))",
}
"""The columns that the questions read, and their types in ClickHouse."""
ONE_MODEL: Final = "provider-2/model-7"
TWO_TEAMS: Final = ("team-1", "team-2")
SQL: Final = {
    entry["name"]: entry["sql"]
    for entry in json.loads(Path(__file__).with_name("engine_questions.json").read_text("utf-8"))
}
"""The questions by hand; each engine says its own way what stands in braces."""
DUCKDB: Final = {
    "hour": "epoch_us(CreatedAt) // 3600000000",
    "percentiles": "quantile_cont(LatencyMs, [0.5, 0.95, 0.99])",
    "environment": "Metadata['environment']",
    "teams": "Teams AS teams",
    "team": "unnest(CASE WHEN len(teams) > 0 THEN teams ELSE [NULL] END) AS team",
    "by_team": "",
    "two_teams": "list_has_any(Teams, ['team-1', 'team-2'])",
}
DERIVED: Final = {
    "md_environment": {"environment": "md_environment"},
    "teams_key": {
        "teams": "teams_key",
        "team": "unnest(CASE WHEN length(teams_key) > 1"
        " THEN string_split(trim(teams_key, ',\"'), '\",\"') ELSE [NULL] END) AS team",
        "two_teams": "(contains(teams_key, ',\"team-1\",') OR contains(teams_key, ',\"team-2\",'))",
    },
}
"""What changes if the files have a column that `import` adds."""
CLICKHOUSE: Final = {
    "hour": "intDiv(toUnixTimestamp(CreatedAt), 3600)",
    "percentiles": "quantilesExactInclusive(0.5, 0.95, 0.99)(LatencyMs)",
    "environment": "Metadata['environment']",
    "teams": "Teams AS teams",
    "team": "team",
    "by_team": " LEFT ARRAY JOIN teams AS team",
    "two_teams": "hasAny(Teams, ['team-1', 'team-2'])",
}
DATAFUSION: Final = {
    "hour": "date_trunc('hour', CreatedAt)",
    "percentiles": ", ".join(
        f"percentile_cont({part}) WITHIN GROUP (ORDER BY LatencyMs)" for part in (0.5, 0.95, 0.99)
    ),
    "environment": "Metadata['environment']",
    "teams": "Teams AS teams",
    "team": "unnest(CASE WHEN cardinality(teams) > 0 THEN teams ELSE make_array(NULL) END) AS team",
    "by_team": "",
    "two_teams": "array_has_any(Teams, make_array('team-1', 'team-2'))",
}


def files_of(directory: Path, days: Sequence[str]) -> list[str]:
    """The Parquet files of these days, without rollups; of all days if there are none."""
    folders = [f"date={day}" for day in days] or ["date=*"]
    found = (f for name in folders for f in (directory / TABLE).glob(f"*/{name}/[!_.]*.parquet"))
    return sorted(map(str, found))


def until(days: Sequence[str]) -> date:
    """The day after the last."""
    return date.fromisoformat(days[-1]) + timedelta(days=1)


def connect(path: str = ":memory:", **config: Any) -> Any:
    import duckdb

    engine = duckdb.connect(path, config={"threads": THREADS, "memory_limit": "4GB"}, **config)
    engine.execute("SET TimeZone = 'UTC'")
    return engine


def open_hand(directory: Path, _folder: Path) -> Count:
    engine = connect()

    @cache
    def relation(days: tuple[str, ...]) -> dict[str, str]:
        rows = f"read_parquet({files_of(directory, days)!r}, hive_partitioning = false)"
        found = engine.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608 - ours
        columns = {column[0] for column in found}
        known = {"rows": f"{rows} WHERE true", **DUCKDB}
        for name, ways in DERIVED.items():
            if name in columns:
                known |= ways
        return known

    def count(question: str, days: Sequence[str]) -> int:
        return len(engine.execute(SQL[question].format(**relation(tuple(days)))).fetchall())

    return count


def open_native(directory: Path, folder: Path) -> Count:
    path = folder / "native.duckdb"
    if not path.exists():
        with connect(str(path)) as engine:
            names = ", ".join(f'"{name}"' for name in COLUMNS)
            engine.execute(
                f"CREATE TABLE calls AS SELECT {names} FROM"  # noqa: S608 - ours
                f" read_parquet({files_of(directory, ())!r}, hive_partitioning = false)"
            )
    engine = connect(str(path), read_only=True)

    def count(question: str, days: Sequence[str]) -> int:
        rows = f"calls WHERE CreatedAt >= TIMESTAMPTZ '{days[0]} 00:00:00+00'"
        rows += f" AND CreatedAt < TIMESTAMPTZ '{until(days)} 00:00:00+00'"
        return len(engine.execute(SQL[question].format(rows=rows, **DUCKDB)).fetchall())

    return count


def in_clickhouse(question: str, rows: str) -> str:
    """The question in ClickHouse's SQL."""
    sql = SQL[question].format(rows=rows, **CLICKHOUSE)
    return f"{sql} SETTINGS max_threads = {THREADS}, use_hive_partitioning = 0"


def parquet_structure() -> str:
    """The columns as a Parquet file has them, for ClickHouse's function `file`."""
    plain = (
        re.sub(r"LowCardinality\((Nullable\(String\)|String)\)", r"\1", kind)
        for kind in COLUMNS.values()
    )
    return ", ".join(f'"{name}" {kind}' for name, kind in zip(COLUMNS, plain, strict=True))


def clickhouse_files(files: Sequence[str]) -> str:
    # A list of paths; with the slash inside the braces it would find no file, and count zero rows.
    names = f"/{{{','.join(file[1:] for file in files)}}}" if len(files) > 1 else files[0]
    structure = parquet_structure().replace("'", "\\'")
    return f"file('{names}', Parquet, '{structure}')"


def open_chdb_parquet(directory: Path, folder: Path) -> Count:
    session = import_module("chdb.session").Session(str(folder / "chdb-parquet"))

    def count(question: str, days: Sequence[str]) -> int:
        rows = f"{clickhouse_files(files_of(directory, days))} WHERE true"
        return str(session.query(in_clickhouse(question, rows), "CSV")).count("\n")

    return count


def open_chdb_mergetree(directory: Path, folder: Path) -> Count:
    path = folder / "chdb-mergetree"
    is_new = not path.exists()
    session = import_module("chdb.session").Session(str(path))
    if is_new:
        session.query("CREATE DATABASE metrics")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        session.query(
            f"CREATE TABLE metrics.calls ({columns}) ENGINE = MergeTree"
            " PARTITION BY toYYYYMMDD(CreatedAt) ORDER BY CreatedAt"
        )
        for file in files_of(directory, ()):
            session.query(
                f"INSERT INTO metrics.calls SELECT * FROM {clickhouse_files([file])} SETTINGS"  # noqa: S608 - ours
                f" max_threads = {THREADS}, use_hive_partitioning = 0,"
                " use_structure_from_insertion_table_in_table_functions = 0"
            )
        session.query("OPTIMIZE TABLE metrics.calls FINAL")

    def count(question: str, days: Sequence[str]) -> int:
        rows = f"metrics.calls WHERE CreatedAt >= toDateTime64('{days[0]} 00:00:00', 6, 'UTC')"
        rows += f" AND CreatedAt < toDateTime64('{until(days)} 00:00:00', 6, 'UTC')"
        return str(session.query(in_clickhouse(question, rows), "CSV")).count("\n")

    return count


def open_polars(directory: Path, _folder: Path) -> Count:
    os.environ["POLARS_MAX_THREADS"] = str(THREADS)
    polars: Any = import_module("polars")
    column, many = polars.col, polars.len().alias("n")
    hour, cost = column("CreatedAt").dt.truncate("1h"), column("CostInUSD").sum()
    environment = column("Metadata").map.get("environment").alias("environment")
    percentiles = [
        column("LatencyMs").quantile(part, interpolation="linear").alias(f"p{part}")
        for part in (0.5, 0.95, 0.99)
    ]
    has_two = polars.any_horizontal(column("Teams").list.contains(team) for team in TWO_TEAMS)

    def by_team(lists: Any, *asked: Any) -> Any:
        teams = lists.explode("Teams", empty_as_null=True).group_by("Teams")
        return teams.agg(column("n").sum(), *asked)

    ways: dict[str, Callable[[Any], Any]] = {
        "cost by model": lambda rows: rows.group_by("ModelName").agg(
            many, cost, column("InputTokens").sum()
        ),
        "percentiles by model": lambda rows: rows.group_by("ModelName").agg(many, *percentiles),
        "cost by team": lambda rows: by_team(rows.group_by("Teams").agg(many, cost), cost),
        "tokens by environment": lambda rows: rows.group_by(environment).agg(
            many, column("OutputTokens").sum()
        ),
        "top users": lambda rows: (
            rows.filter(column("CreatedBySubjectType") == "user")
            .group_by("CreatedBySubjectSlug")
            .agg(many, cost)
        ),
        "hourly cost": lambda rows: rows.group_by(hour).agg(many, cost),
        "failures of two teams": lambda rows: (
            rows.filter(column("IsFailure") & has_two).group_by("ModelName").agg(many)
        ),
        "models alone": lambda rows: rows.filter(column("VirtualModelName").is_null()).select(
            many, cost, column("InputTokens", "OutputTokens").sum()
        ),
        "percentiles by model and hour": lambda rows: rows.group_by(hour, "ModelName").agg(
            many, *percentiles
        ),
        "distinct models by team": lambda rows: by_team(
            rows.group_by("Teams", "ModelName").agg(many), column("ModelName").n_unique()
        ),
        "cost by model and hour": lambda rows: rows.group_by(hour, "ModelName").agg(many, cost),
        "one model by hour": lambda rows: (
            rows.filter(column("ModelName") == ONE_MODEL).group_by(hour).agg(many, cost)
        ),
    }

    def count(question: str, days: Sequence[str]) -> int:
        rows = polars.scan_parquet(files_of(directory, days), hive_partitioning=False)
        return int(ways[question](rows).collect(engine="streaming").height)

    return count


def in_datafusion(question: str, rows: str) -> str:
    """The question in DataFusion's SQL, which folds names that are not quoted."""
    sql = SQL[question].format(rows=rows, **DATAFUSION)
    return re.sub(rf"\b({'|'.join(COLUMNS)})\b", r'"\1"', sql)


def open_datafusion(directory: Path, folder: Path) -> Count:
    datafusion: Any = import_module("datafusion")
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))

    @cache
    def register(days: tuple[str, ...]) -> str:
        name = f"days{len(days)}_{days[0].replace('-', '_')}"
        links = folder / f"datafusion-{name}"
        links.mkdir(exist_ok=True)
        for number, file in enumerate(files_of(directory, days)):
            link = links / f"{number}.parquet"
            link.unlink(missing_ok=True)
            link.hardlink_to(file)
        context.register_parquet(name, f"{links}/")
        return name

    def count(question: str, days: Sequence[str]) -> int:
        rows = f"{register(tuple(days))} WHERE true"
        found = context.sql(in_datafusion(question, rows)).collect()
        return sum(batch.num_rows for batch in found)

    return count


ENGINES: Final = {
    "hand": open_hand,
    "native DuckDB": open_native,
    "chdb, Parquet": open_chdb_parquet,
    "chdb, MergeTree": open_chdb_mergetree,
    "Polars": open_polars,
    "DataFusion": open_datafusion,
}


def copy_bare(source: str, target: str) -> None:
    """What an import cannot be faster than: typed rows of one file, sorted and written by COPY.

    Beside the source lies the same as Parquet, which says the types.
    """
    engine = connect()
    typed = str(Path(source).with_suffix(".parquet"))
    found = engine.execute("DESCRIBE SELECT * FROM read_parquet($file)", {"file": typed}).fetchall()
    types = {name: kind for name, kind, *_ in found}
    nested = {name: kind for name, kind in types.items() if kind.endswith((")", "[]"))}
    changed = ""
    match Path(source).suffix:
        case ".csv":
            plain = {**types, **dict.fromkeys(nested, "JSON")}
            rows = f"read_csv('{source}', header = true, columns = {plain})"
            casts = ", ".join(
                f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in nested.items()
            )
            changed = f"REPLACE ({casts})"
        case ".jsonl":
            rows = f"read_json('{source}', format = 'newline_delimited', columns = {types})"
        case _:
            rows = f"read_parquet('{source}')"
    order = "epoch_us(CreatedAt) // 3600000000, ModelName, CreatedBySubjectSlug, CreatedAt"
    typed = f"SELECT * {changed} FROM {rows} ORDER BY {order}"  # noqa: S608 - ours
    form = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
    engine.execute(f"COPY ({typed}) TO '{target}' ({form})")


async def main(engine: str, *folders: str) -> None:
    opens: Callable[..., Callable[..., Any]] = ENGINES.get(engine, lambda: copy_bare)
    count = opens(*map(Path, folders))

    async def answer(order: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        rows = count(**order)
        return {"seconds": time.perf_counter() - start, "count": rows}

    await serve(answer)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
