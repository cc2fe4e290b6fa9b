#!/usr/bin/env bash
# Surprise: ClickHouse loads a Parquet integer into a narrower column without an error or a null: it
#   keeps the low bits. 3,000,000,000 becomes -1294967296, and a UInt64 beyond Int64 turns negative.
# Versions: chdb 4.4.0 (ClickHouse 26.9), pyarrow 26.0.1, on CPython 3.11.
# Why it matters: writers store int64 by default, so the column's type in the table decides what
#   arrives, and sums are wrong with nothing to see. Read with the file's own types and use
#   accurateCast, or make the columns wide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" chdb==4.4.0 pyarrow==26.0.1
cat >"$folder/load.py" <<'PY'
import sys
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
from chdb import session

path = f"{sys.argv[1]}/calls.parquet"
tokens = pa.array([10, 3_000_000_000, 5_000_000_000], pa.int64())
ids = pa.array([1, 2, 2**63 + 5], pa.uint64())
pq.write_table(pa.table({"tokens": tokens, "id": ids}), path)
engine = session.Session()
print("chdb", version("chdb"), "ClickHouse", str(engine.query("SELECT version()")).strip())
engine.query("CREATE TABLE calls (tokens Nullable(Int32), id Int64) ENGINE = Memory")


def load(what: str) -> str:
    try:
        engine.query(f"INSERT INTO calls SELECT {what} FROM file('{path}', 'Parquet')")
    except Exception as error:
        return "error: " + " ".join(str(error).split())[:80]
    rows = str(engine.query("SELECT * FROM calls FORMAT JSONCompactEachRow")).split("\n")
    engine.query("TRUNCATE TABLE calls")
    return " ".join(rows).strip()


wrapped = load("tokens, id")
accurate = load("accurateCast(tokens, 'Int32'), id")
print("tokens, id:", wrapped)
print("accurateCast(tokens, 'Int32'), id:", accurate)
expected = "[10, 1] [-1294967296, 2] [705032704, -9223372036854775803]"
assert wrapped == expected, "the behaviour has changed"
assert accurate.startswith("error"), accurate
PY
"$folder/venv/bin/python" "$folder/load.py" "$folder"
