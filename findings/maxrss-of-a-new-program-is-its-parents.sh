#!/usr/bin/env bash
# Surprise: a program that has just started reports as the peak of its own memory that of the process
#   that started it. Linux keeps `ru_maxrss` across exec, so `resource.getrusage(RUSAGE_SELF)` in a
#   10 MB child of a 400 MB server says 400 MB. `VmHWM` in /proc/self/status begins anew.
# Versions: psutil 7.2.2 (for the child's present memory), on CPython 3.11 and Linux.
# Why it matters: a worker that ends itself when its peak passes a limit ends at once under a large
#   parent, and a benchmark that reports a child's ru_maxrss reports the harness.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check psutil==7.2.2
cat >"$folder/child.py" <<'PY'
import json
import resource

import psutil

with open("/proc/self/status", encoding="ascii") as status:
    hwm = int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([psutil.Process().memory_info().rss / 2**20, hwm, peak]))
PY
cat >"$folder/parent.py" <<'PY'
import json
import subprocess
import sys
from importlib.metadata import version

import psutil

memory = b"x" * 400_000_000
own = psutil.Process().memory_info().rss / 2**20
rss, hwm, peak = json.loads(subprocess.check_output([sys.executable, sys.argv[1]]))
print(f"psutil {version('psutil')}")
print(f"parent: {own:.0f} MB now")
print(f"child:  {rss:.0f} MB now, VmHWM {hwm:.0f} MB, ru_maxrss {peak:.0f} MB")
assert hwm < 100, "changed: VmHWM is inherited"
assert peak > 300, "changed: ru_maxrss begins anew"
PY
"$folder/venv/bin/python" "$folder/parent.py" "$folder/child.py"
