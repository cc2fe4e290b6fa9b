#!/usr/bin/env bash
# Surprise: with times="int96" fastparquet writes the times of a pandas 3 table as January 1970: it
#   takes the column's microseconds for nanoseconds. pandas 3 gives parsed times microseconds, where
#   pandas 2 gave nanoseconds; every reader, fastparquet too, agrees on the wrong date.
# Versions: fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, on CPython 3.11.
# Why it matters: no error and a well-formed file; rows vanish from every window that is asked.
#   Convert to datetime64[ns] first, or leave `times` at its default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
cat >"$folder/write.py" <<'PY'
import sys
from importlib.metadata import version

import fastparquet
import pandas as pd
import pyarrow.parquet as pq

print(*(f"{name} {version(name)}" for name in ("fastparquet", "pandas", "pyarrow")))
parsed = pd.DataFrame({"made": pd.to_datetime(["2026-07-10T12:00:00"])})
path = f"{sys.argv[1]}/made.parquet"


def years(table: pd.DataFrame, times: str) -> set[int]:
    fastparquet.write(path, table, times=times)
    own = fastparquet.ParquetFile(path).to_pandas()["made"][0].year
    other = pq.read_table(path)["made"][0].as_py().year
    print(f"{table['made'].dtype} as {times}: fastparquet reads {own}, pyarrow {other}")
    return {own, other}


assert years(parsed, "int64") == {2026}
assert years(parsed.astype("datetime64[ns]"), "int96") == {2026}
assert years(parsed, "int96") == {1970}, "the behaviour has changed"
PY
"$folder/venv/bin/python" "$folder/write.py" "$folder"
