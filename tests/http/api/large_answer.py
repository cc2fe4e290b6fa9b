"""Serve an API over a directory and measure itself: memory, and the pauses of the event loop.

`python tests/http/api/large_answer.py DIRECTORY` prints its port; every empty line that it reads is
answered by its peak memory and longest pause since the line before, as JSON.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from pathlib import Path

import anyio
import anyio.to_thread
import uvicorn

from gateway_metrics_mcp.auth.policies import OpenPolicy
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.settings import Settings

_BEAT_S = 0.001


class _Meter:
    """The longest pause between two beats, and the peak of this process's memory.

    A pause counts as far as this process worked in it: what others take of a busy machine is
    not its doing.
    """

    def __init__(self) -> None:
        self.pause_s = 0.0

    async def beat(self) -> None:
        last, worked = time.perf_counter(), time.process_time()
        while True:
            await anyio.sleep(_BEAT_S)
            now, by_now = time.perf_counter(), time.process_time()
            self.pause_s = max(self.pause_s, min(now - last - _BEAT_S, by_now - worked))
            last, worked = now, by_now

    def read(self) -> dict[str, float]:
        """What was measured since the last reading."""
        status = Path("/proc/self/status").read_text("ascii")
        kilobytes = {
            line.partition(":")[0]: int(line.split()[1])
            for line in status.splitlines()
            if line.startswith(("VmRSS", "VmHWM"))
        }
        measured = {
            "now_mib": kilobytes["VmRSS"] / 1024,
            "peak_mib": kilobytes["VmHWM"] / 1024,
            "pause_ms": self.pause_s * 1000,
        }
        self.pause_s = 0.0
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        return measured


async def _serve(directory: Path) -> None:
    meter, settings = _Meter(), Settings(backend=str(directory))
    app = build_api_app(MetricsApi(settings), settings, OpenPolicy())
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    gc.freeze()  # as the command does
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(meter.beat)
            group.start_soon(_answer, meter, server)
            sys.stdout.write(f"{listener.getsockname()[1]}\n")
            sys.stdout.flush()
            await server.serve([listener])
            group.cancel_scope.cancel()
    gc.unfreeze()


async def _answer(meter: _Meter, server: uvicorn.Server) -> None:
    while await anyio.to_thread.run_sync(sys.stdin.readline):
        sys.stdout.write(json.dumps(meter.read()) + "\n")
        sys.stdout.flush()
    server.should_exit = True


if __name__ == "__main__":
    anyio.run(_serve, Path(sys.argv[1]))
