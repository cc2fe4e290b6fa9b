"""The start-up time over stdio: from the start of the process to the answer of `tools/list`.

The yardstick, measured in the same run, is Python importing the SDK and printing a line: without
the front no server on that SDK can be faster. `kept` is a start whose answers the front has kept.
Usage: python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

MOST: Final = 1.35
MOST_KEPT: Final = 0.10
WITHOUT_FRONT: Final = {"GATEWAY_METRICS_FRONT": "false"}
RUNS: Final = 11
SERVER: Final = ("-m", "gateway_metrics_mcp")
YARDSTICK: Final = ("-c", "import mcp.server.mcpserver; print('{}', flush=True)")

INITIALIZE: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
ENVELOPE: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}
HANDSHAKE: Final[tuple[dict[str, Any], ...]] = (
    {"id": 0, "method": "initialize", "params": INITIALIZE},
    {"method": "notifications/initialized"},
    {"id": 1, "method": "tools/list"},
)
STATELESS: Final[tuple[dict[str, Any], ...]] = (
    {"id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}},
)

# Prints the loaded modules when the list is answered; on stderr, because stdout is the protocol.
LOADED: Final = """
import json, sys
from mcp.server import stdio
from mcp_types import JSONRPCResponse
dump = JSONRPCResponse.model_dump_json
def tell(self, **options):
    if self.id == 1:
        print(json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True)
    return dump(self, **options)
JSONRPCResponse.model_dump_json = tell
from gateway_metrics_mcp.cli.main import main
sys.exit(main([]))
"""
BARE: Final = "import json, sys, mcp.server.mcpserver; print(json.dumps(sorted(sys.modules)))"


def _environment() -> dict[str, str]:
    """An environment without variables that change Python's start, so byte code is cached."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def measure(
    arguments: Sequence[str],
    messages: Sequence[dict[str, Any]] = (),
    python: str = sys.executable,
    **variables: str,
) -> float:
    """The seconds from the start of the process to its last expected line."""
    sent = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    wanted = sum("id" in message for message in messages) or 1
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - this Python, our arguments
        [python, *arguments],
        env=_environment() | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        process.stdin.write(sent.encode())
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(wanted)]
        seconds = time.perf_counter() - start
        process.stdin.close()
    if messages and not json.loads(lines[-1])["result"]["tools"]:
        raise RuntimeError(f"no tools: {lines[-1]!r}")
    return seconds


def loaded_by_us() -> set[str]:
    """The heavy modules that we, not the SDK, have loaded when the list is answered."""
    sent = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in HANDSHAKE)
    with subprocess.Popen(  # noqa: S603 - this Python, our code
        [sys.executable, "-c", LOADED],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stderr is None:
            raise RuntimeError("no pipes")
        process.stdin.write(sent.encode())
        process.stdin.flush()
        ours = set(json.loads(process.stderr.readline()))
        process.stdin.close()
    bare = subprocess.run(  # noqa: S603 - likewise
        [sys.executable, "-c", BARE], env=_environment(), capture_output=True, check=True
    )
    if "gateway_metrics_mcp.server.tools" not in ours:
        raise RuntimeError("the server was not loaded")
    return {"duckdb", "httpx", "uvicorn"} & (ours - set(json.loads(bare.stdout)))


def main(runs: int) -> int:
    subjects: dict[str, Callable[[], float]] = {
        "yardstick": lambda: measure(YARDSTICK),
        "handshake": lambda: measure(SERVER, HANDSHAKE, **WITHOUT_FRONT),
        "2026-07-28": lambda: measure(SERVER, STATELESS, **WITHOUT_FRONT),
        "kept": lambda: measure(SERVER, HANDSHAKE),
    }
    for subject in subjects.values():
        subject()  # not measured: writes byte code and fills the page cache
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(runs):
        for name, subject in subjects.items():
            times[name].append(subject())
    yardstick = median(times["yardstick"])
    ratios = {name: median(taken) / yardstick for name, taken in times.items()}
    for name, taken in times.items():
        print(
            f"{name:10}  median {median(taken) * 1000:5.0f} ms  least {min(taken) * 1000:5.0f} ms"
            f"  ratio {ratios[name]:.2f}"
        )
    heavy = loaded_by_us()
    print(f"loaded by us before the list was answered: {', '.join(sorted(heavy)) or 'none'}")
    kept = ratios.pop("kept")
    is_good = max(ratios.values()) <= MOST and kept <= MOST_KEPT and not heavy
    print(
        f"{'ok' if is_good else 'FAIL'}: at most {MOST} times the yardstick, {MOST_KEPT} with kept"
        f" answers, {runs} runs each"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
