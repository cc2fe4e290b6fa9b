#!/usr/bin/env bash
# Surprise: every request of httpx repeats a failing import. httpcore asks `sniffio` which event loop
#   runs, at every lock and event, by an import inside the function. httpx 0.28 and newer anyio no
#   longer bring sniffio, Python caches no failed import, so each one searches the whole path again.
# Versions: httpx 0.28.1, httpcore 1.0.9, anyio 4.16.0, on CPython 3.11.
# Why it matters: a fresh `pip install httpx` pays for several searches of the file system per
#   request, more the longer sys.path is; with sniffio installed the same code searches for nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" httpx==0.28.1 httpcore==1.0.9 anyio==4.16.0
cat >"$folder/count.py" <<'PY'
import asyncio
import sys
import time
from importlib.metadata import version

import httpx

REQUESTS = 200


class Counter:
    searches = 0

    def find_spec(self, name, path=None, target=None):
        if name == "sniffio":
            Counter.searches += 1


async def answer(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(url)
        sys.meta_path.insert(0, Counter())
        begun = time.process_time()
        for _ in range(REQUESTS):
            await client.get(url)
        spent = time.process_time() - begun
    print(
        "searches for sniffio per request:",
        round(Counter.searches / REQUESTS, 1),
        "| ms of processor time per request:",
        round(spent / REQUESTS * 1000, 2),
    )
    return Counter.searches / REQUESTS


print(*(f"{name} {version(name)}" for name in ("httpx", "httpcore", "anyio")))
searches = asyncio.run(main())
assert (searches >= 1) == (sys.argv[1] == "without"), "the behaviour has changed"
PY
echo "without sniffio:"
"$folder/venv/bin/python" "$folder/count.py" without 2>/dev/null
"${pip[@]}" sniffio==1.3.1
echo "with sniffio 1.3.1:"
"$folder/venv/bin/python" "$folder/count.py" with 2>/dev/null
