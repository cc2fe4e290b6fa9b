#!/usr/bin/env bash
# Surprise: an instant that hyparquet-writer writes from a JavaScript Date is one hour in pyarrow and
#   another in DuckDB. The column has the old converted type TIMESTAMP_MILLIS and no logical type;
#   the Parquet format says that it means UTC (isAdjustedToUTC = true), as pyarrow reads it. DuckDB
#   makes it a TIMESTAMP without a zone, which the session's zone shifts; polars drops the zone, too.
# Versions: hyparquet-writer 0.17.0, duckdb 2.0.1, pyarrow 26.0.1, polars 2.1.0, on CPython 3.11.
# Why it matters: nothing fails, and rows near midnight land in another day, by as many hours as the
#   reader is away from UTC. Set DuckDB's TimeZone to UTC before such files are compared with instants.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" hyparquet-writer@0.17.0
cat >"$folder/write.mjs" <<'JS'
import { parquetWriteFile } from 'hyparquet-writer'

const data = [new Date('2026-07-10T12:00:00Z')]
parquetWriteFile({ filename: 'date.parquet', columnData: [{ name: 'made', data }] })
JS
node "$folder/write.mjs"
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0
cat >"$folder/read.py" <<'PY'
import duckdb
import polars
import pyarrow
import pyarrow.parquet as pq

print("duckdb", duckdb.__version__, "pyarrow", pyarrow.__version__, "polars", polars.__version__)
kind = "SELECT type, converted_type, logical_type FROM parquet_schema('date.parquet') WHERE name = 'made'"
stored = duckdb.sql(kind).fetchall()[0]
arrow = str(pq.read_schema("date.parquet").field("made").type)
print("stored as", stored, "| pyarrow reads", arrow)
print("polars reads", polars.read_parquet_schema("date.parquet")["made"])
seconds = {}
for zone in ("UTC", "America/New_York"):
    duckdb.execute(f"SET TimeZone = '{zone}'")
    select = "SELECT typeof(made), epoch(CAST(made AS TIMESTAMPTZ)) FROM 'date.parquet'"
    type_, seconds[zone] = duckdb.sql(select).fetchall()[0]
    print(f"DuckDB in {zone} reads {type_}, as an instant {seconds[zone]:.0f}")
assert stored == ("INT64", "TIMESTAMP_MILLIS", None), stored
assert arrow == "timestamp[ms, tz=UTC]", arrow
shift = seconds["America/New_York"] - seconds["UTC"]
assert shift == 4 * 3600, "the behaviour has changed"
PY
"$folder/venv/bin/python" "$folder/read.py"
