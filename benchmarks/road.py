"""Lists the files of the package that one warm `query_distribution` over DuckDB enters.

The call comes from an MCP client in memory, over a directory of Parquet files. The first calls
trigger late imports and fill caches; the traced one queries another window, so that no cache
answers it. `sys.setprofile` reports each Python function that is entered or resumed, in every
thread; a file counts if one of its functions is.

A call is upward if the calling file does not import the entered file, directly or indirectly: a
callback, or a protocol's implementation. If the package has rooms, calls from a lower room into a
higher one are counted separately.
Usage: python benchmarks/road.py [SOURCE] [--most FILES]
where SOURCE holds the package: `src` of this repository by default, or that of another version.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from engine_rows import write_calls
from layouts import PACKAGE, load_build_server, load_settings
from size import SOURCE, import_graph, module_of, reachable

MOST: Final = 40
DAY: Final = date(2026, 6, 20)
NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
ROOMS: Final = (
    ("errors",),
    ("query", "runtime"),
    ("settings",),
    ("backends", "auth"),
    ("reports",),
    ("rendering",),
    ("server",),
    ("http",),
    ("cli",),
)
"""From the lowest to the highest."""
LEVELS: Final = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


class Tracer:
    """A profiler that counts which of the package's files are entered, and from which."""

    def __init__(self, package: Path) -> None:
        self._files: dict[str, str | None] = {}
        self._package = package.resolve()
        self.is_on = False
        self.entered: Counter[str] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count one event, as `sys.setprofile` reports it."""
        if event != "call" or not self.is_on:
            return
        # A module body is run by an import, not by the call.
        module = self._module_of(frame)
        if module is None or frame.f_code.co_name == "<module>":
            return
        self.entered[module] += 1
        caller = frame.f_back
        while caller is not None:
            if (above := self._module_of(caller)) is not None:
                if above != module:
                    self.calls[above, module] += 1
                return
            caller = caller.f_back

    def _module_of(self, frame: FrameType) -> str | None:
        name = frame.f_code.co_filename
        if name not in self._files:
            path = Path(name)
            is_ours = path.is_relative_to(self._package) and path.suffix == ".py"
            self._files[name] = module_of(path, self._package) if is_ours else None
        return self._files[name]


def write_day(directory: Path, rows: int = 500) -> None:
    target = directory / "gateway_model_metrics" / "calls.parquet"
    target.parent.mkdir()
    write_calls(target, DAY, rows)


def arguments_of(hours: int) -> dict[str, Any]:
    """The tool's arguments, over a window of that many hours."""
    return {
        "startTs": f"{DAY}T00:00:00Z",
        "endTs": f"{DAY}T{hours:02}:00:00Z",
        "aggregations": ["sum costInUSD", "sum inputTokens", "p95 latencyMs"],
        "groupBy": ["modelName"],
        "filters": [{"fieldName": "requestType", "operator": "IN", "value": ["ChatCompletion"]}],
    }


async def trace(package: Path) -> Tracer:
    from mcp.client import Client

    build_server, settings = load_build_server(), load_settings()
    tracer = Tracer(package)
    # A thread gets the profiler when it starts, and the engine's threads start in the warm calls:
    # so it is installed before them, and switched on after.
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    with tempfile.TemporaryDirectory() as folder:
        write_day(Path(folder))
        server = build_server(settings(backend=folder), clock=lambda: NOW)
        async with Client(server) as client:
            for hours in (9, 10):
                await client.call_tool("query_distribution", arguments_of(hours))
            tracer.is_on = True
            result = await client.call_tool("query_distribution", arguments_of(11))
            tracer.is_on = False
    (block,) = result.content
    if result.is_error or "rows 1-" not in getattr(block, "text", ""):
        raise RuntimeError(f"no answer: {block}")
    return tracer


def short(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.")


def room_level(module: str) -> int:
    return LEVELS.get(short(module).partition(".")[0], -1)


def is_higher(above: str, below: str) -> bool:
    return 0 <= room_level(above) < room_level(below)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("--most", type=int, default=MOST, help="files, else it fails")
    flags = parser.parse_args()
    package = (flags.source / PACKAGE).resolve()
    sys.path.insert(0, str(flags.source.resolve()))
    tracer = asyncio.run(trace(package))
    graph = import_graph(package)
    reach = {module: reachable(graph, module) for module in graph}
    upward = {pair: n for pair, n in tracer.calls.items() if pair[1] not in reach[pair[0]]}
    climbs = {pair: n for pair, n in tracer.calls.items() if is_higher(*pair)}
    for name, calls in sorted(tracer.entered.items()):
        print(f"{short(name):44} {calls:5} calls")
    found = {"upward": upward}
    if all((package / room).exists() for room in ("query", "reports", "rendering", "server")):
        found["from a lower room into a higher"] = climbs
    for title, pairs in found.items():
        print(f"{title}: {sum(pairs.values())} calls between {len(pairs)} pairs of files")
        for pair, calls in sorted(pairs.items()):
            print(f"  {' -> '.join(map(short, pair))}: {calls}")
    is_good = len(tracer.entered) <= flags.most
    print(
        f"{'ok' if is_good else 'FAIL'}: {len(tracer.entered)} files entered, at most {flags.most}"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
