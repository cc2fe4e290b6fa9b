"""The picture of an answer: one PNG after the text, drawn beside the loop, or a reason."""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.client import Client
from mcp_types import CallToolResult, ImageContent, TextContent

import gateway_metrics_mcp
from gateway_metrics_mcp.rendering.charts import vega
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.rendering.charts.worker import SPECIFICATION, write_frame
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Ask = Callable[..., Awaitable[CallToolResult]]

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]
COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
BARS: Final = {**COST, "startTs": "2026-07-13.."}
LINES: Final = {**BARS, "interval": "1 day"}
SIMPLE: Final = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "data": {"values": [{"a": 1}]},
    "mark": "point",
}


@pytest.fixture(autouse=True)
def painting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn by processes of their own here, which a busy machine may hold up."""
    init = ChartRenderer.__init__
    monkeypatch.setattr(init, "__defaults__", (300.0, *(init.__defaults__ or ())[1:]))


def crowd(count: int) -> dict[str, Any]:
    """So many points, which take their time."""
    return {**SIMPLE, "data": {"values": [{"a": number} for number in range(count)]}}


def confetti(count: int) -> dict[str, Any]:
    """So many dots in as many colours, which no PNG can pack well: 0.3 kB each at full size."""
    dots = [{"x": i * 7919 % 7993, "y": i * i % 7877, "c": i * 31 % 97} for i in range(count)]
    bare: dict[str, Any] = {"type": "quantitative", "axis": None}
    return {
        **SIMPLE,
        "width": 800,
        "height": 600,
        "data": {"values": dots},
        "mark": {"type": "circle", "size": 60},
        "encoding": {
            "x": {"field": "x", **bare},
            "y": {"field": "y", **bare},
            "color": {"field": "c", "type": "quantitative", "legend": None},
        },
    }


def text_of(result: CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


def size_of(result: CallToolResult) -> tuple[int, int]:
    """Width and height of the one picture, out of its header."""
    _, block = result.content
    assert isinstance(block, ImageContent)
    assert block.mime_type == "image/png"
    image = base64.b64decode(block.data, validate=True)
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert image[12:16] == b"IHDR"
    width, height = struct.unpack(">II", image[16:24])
    return width, height


async def test_a_picture_follows_the_text(few: Path) -> None:
    server = build_server(Settings(backend=str(few)), clock=lambda: NOW)
    async with server.hold():  # one process draws all four
        for mode in ("legacy", "auto"):
            async with Client(server, mode=mode) as client:
                await check_picture(client, "query_distribution", BARS)
                await check_picture(client, "query_timeseries", LINES)


async def check_picture(client: Client, tool: str, asked: dict[str, Any]) -> None:
    """Whether the answer is the table's text, then one picture of a size to look at."""
    result = await client.call_tool(tool, {**asked, "format": "chart"})
    table = await client.call_tool(tool, {**asked, "format": "table"})
    width, height = size_of(result)

    assert not result.is_error
    assert text_of(result) == text_of(table)
    assert [block.type for block in table.content] == ["text"]
    assert 1400 <= width <= 1800, "readable at 700 to 900 pixels, twice as sharp"
    assert 150 <= height <= 1400
    assert result.structured_content is None


@pytest.mark.usefixtures("drawn_here")
@pytest.mark.parametrize("interval", [{}, {"interval": "1 day"}], ids=["bars", "lines"])
async def test_the_text_says_what_the_picture_leaves_out(
    ask: Ask, many: Path, interval: dict[str, str]
) -> None:
    asked = {**COST, "startTs": "2026-07-08..", "limit": 14, **interval}
    what = "top 12 of 14 series" if interval else "12 of 14 groups"

    assert text_of(await ask(many, asked)).splitlines()[1] == f"# picture: {what}"


@pytest.mark.usefixtures("drawn_here")
async def test_the_note_is_within_the_budget(ask: Ask, many: Path) -> None:
    asked = {**COST, "startTs": "2026-07-08..", "interval": "1 day", "limit": 14}
    small = text_of(await ask(many, asked, budget=500))

    assert len(small.encode()) < 4 * 500
    assert "# picture: " in small


async def test_an_empty_answer_has_no_picture(ask: Ask, few: Path) -> None:
    result = await ask(few, {**BARS, "startTs": "2026-07-01", "endTs": "2026-07-02"})

    assert [block.type for block in result.content] == ["text"]
    assert "# no picture: the answer has no value to draw" in text_of(result).splitlines()


@pytest.mark.parametrize("interval", [{}, {"interval": "1 day"}], ids=["bars", "lines"])
async def test_values_that_are_all_null_are_no_picture(
    ask: Ask, few: Path, interval: dict[str, str]
) -> None:
    asked = {**BARS, **interval, "aggregations": ["avg timeToFirstTokenMs"]}
    result = await ask(few, asked)

    assert [block.type for block in result.content] == ["text"]
    assert "# no picture: the answer has no value to draw" in text_of(result).splitlines()


@pytest.mark.parametrize("groups", [["modelName"], []], ids=["groups", "no groups"])
async def test_an_offset_past_the_last_row_is_no_picture(
    ask: Ask, few: Path, groups: list[str]
) -> None:
    result = await ask(few, {**BARS, "groupBy": groups, "offset": 5}, ui=True)

    assert not result.is_error
    assert "gateway-metrics/view" not in (result.meta or {})
    assert [block.type for block in result.content] == ["text"]


async def test_drawing_leaves_the_loop_free(engine: Callable[[str], None]) -> None:
    engine("time.sleep(0.2)\nreturn mark.encode()")
    images: list[bytes | str] = []
    beats = 0

    async def draw() -> None:
        images.append(await ChartRenderer().draw(SIMPLE))

    async with anyio.create_task_group() as group:
        group.start_soon(draw)
        while not images:
            await anyio.sleep(0.005)
            beats += 1

    assert isinstance(images[0], bytes)
    assert beats > 10


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install an engine whose picture is what this code returns; it may use `mark`."""

    def install(code: str) -> None:
        lines = ["import json, os, signal, sys, time", "def vegalite_to_png(specification, **_):"]
        lines += ["    mark = specification['mark']", *(f"    {one}" for one in code.splitlines())]
        (tmp_path / "vl_convert.py").write_text("\n".join(lines), "utf-8")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(SOURCES)]))

    return install


@pytest.fixture(scope="module")
async def used() -> AsyncIterator[ChartRenderer]:
    """A renderer with the engine itself, whose process all pictures share."""
    renderer = ChartRenderer(300.0)
    with renderer.hold():
        yield renderer


def marked(mark: str) -> dict[str, Any]:
    return {**SIMPLE, "mark": mark}


@pytest.mark.thorough
async def test_a_picture_has_the_same_bytes_whatever_was_drawn_before() -> None:
    fresh = await ChartRenderer().draw(confetti(300))
    used = ChartRenderer()
    lines = {**crowd(50), "mark": "line", "config": {"font": "serif", "background": "red"}}
    for other in (SIMPLE, lines, marked("nonsense"), crowd(3000)):
        await used.draw(other)

    assert isinstance(fresh, bytes)
    assert await used.draw(confetti(300)) == fresh


async def test_one_process_draws_all_pictures(engine: Callable[[str], None]) -> None:
    engine("return str(os.getpid()).encode()")
    renderer = ChartRenderer()

    assert len({await renderer.draw(SIMPLE) for _ in range(5)}) == 1


async def test_after_a_failure_the_next_picture_is_drawn(
    engine: Callable[[str], None],
) -> None:
    engine(
        "if mark == 'exit': os._exit(3)\n"
        "if mark == 'kill': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "if mark == 'raise': raise ValueError('no')\n"
        "return mark.encode()"
    )
    renderer = ChartRenderer()
    marks = ("one", "exit", "two", "kill", "kill", "three", "raise", "raise", "four")
    drawn = [await renderer.draw(marked(mark)) for mark in marks]

    no = "it could not be drawn; see this server's log"
    assert drawn == [b"one", no, b"two", no, no, b"three", no, no, b"four"]


async def test_a_large_server_keeps_its_process_too(engine: Callable[[str], None]) -> None:
    engine("return str(os.getpid()).encode()")
    renderer = ChartRenderer()
    memory = b"x" * 400_000_000

    assert len({await renderer.draw(SIMPLE) for _ in range(2)}) == 1
    assert memory


async def test_a_process_that_ended_while_idle_is_replaced_unnoticed(
    engine: Callable[[str], None],
) -> None:
    engine("return str(os.getpid()).encode()")
    renderer = ChartRenderer()
    first = await renderer.draw(SIMPLE)
    assert isinstance(first, bytes)
    os.kill(int(first), signal.SIGKILL)
    second = await renderer.draw(SIMPLE)

    assert isinstance(second, bytes)
    assert int(second) != int(first)


async def test_a_process_that_has_grown_is_replaced(engine: Callable[[str], None]) -> None:
    engine("memory = b'x' * (400_000_000 if mark == 'large' else 1)\nreturn b'%d' % os.getpid()")
    renderer = ChartRenderer()
    drawn = [await renderer.draw(marked(mark)) for mark in ("a", "large", "b", "c")]

    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]


async def test_one_that_hangs_is_killed_and_the_next_picture_is_drawn(
    engine: Callable[[str], None],
) -> None:
    # Long enough for a busy machine to start a process: only the hanging one waits for its end.
    renderer = ChartRenderer(patience_s=10)
    engine("if mark == 'hang': time.sleep(1000)\nreturn mark.encode()")

    drawn = [await renderer.draw(marked(mark)) for mark in ("hang", "one")]

    assert drawn == ["it was not rendered within 10 seconds", b"one"]


async def test_what_the_engine_prints_is_in_no_picture(engine: Callable[[str], None]) -> None:
    engine(
        "print('stray' * 9000, flush=True); os.write(1, b'stray'); sys.stdin.read()\n"
        "return mark.encode()"
    )
    renderer = ChartRenderer()

    assert [await renderer.draw(marked(mark)) for mark in ("one", "two")] == [b"one", b"two"]


async def test_a_process_that_writes_nonsense_is_replaced(
    engine: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    engine("if mark == 'nonsense': os.write(4, b'x' * 9)\nreturn mark.encode()")
    renderer = ChartRenderer()
    drawn = [await renderer.draw(marked(mark)) for mark in ("one", "nonsense", "two")]

    assert drawn == [b"one", "it could not be drawn; see this server's log", b"two"]
    assert "the engine ended" in caplog.text


async def test_a_caller_who_gives_up_leaves_the_next_its_own_picture(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    engine(f"open({str(begun)!r}, 'w').close()\ntime.sleep(0.2)\nreturn mark.encode() * 200_000")
    renderer = ChartRenderer()
    async with anyio.create_task_group() as group:
        group.start_soon(renderer.draw, marked("a"))
        while not begun.exists():  # noqa: ASYNC110 - no event tells of a file
            await anyio.sleep(0.005)
        group.cancel_scope.cancel()

    assert await renderer.draw(marked("b")) == b"b" * 200_000


async def test_nobody_s_picture_waits_for_all_of_another(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    begun, drawn = tmp_path / "begun", tmp_path / "drawn"
    engine(
        f"open({str(begun)!r}, 'w').close()\n"
        f"while mark == 'a' and not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.005)\n"
        f"open({str(drawn)!r}, 'a').write(mark)\n"
        "return mark.encode()"
    )
    renderer = ChartRenderer()
    async with anyio.create_task_group() as group:
        group.start_soon(renderer.draw, marked("a"), "bob")
        while not begun.exists():  # noqa: ASYNC110 - no event tells of a file
            await anyio.sleep(0.005)
        for mark in "bc":
            group.start_soon(renderer.draw, marked(mark), "bob")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(renderer.draw, marked("d"), "ada")
        await anyio.wait_all_tasks_blocked()
        (tmp_path / "go").touch()

    assert drawn.read_text() == "adbc"


def test_the_process_ends_with_the_server_that_is_killed(
    engine: Callable[[str], None],
) -> None:
    engine("return b'%d' % os.getpid()")
    code = f"""
import anyio, time
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
renderer = ChartRenderer()
print(anyio.run(renderer.draw, {SIMPLE!r}).decode(), flush=True)
time.sleep(1000)
"""
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        os.kill(worker, 0)
        server.kill()

    while is_running(worker):
        time.sleep(0.01)


def start_worker(before: str, patience_s: float) -> subprocess.Popen[bytes]:
    """The process alone, after `before` was run in it."""
    module = "gateway_metrics_mcp.rendering.charts"
    code = f"from {module} import worker\n{before}\nworker.main()"
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", code, f"{patience_s}"], stdin=subprocess.PIPE
    )


def test_the_process_ends_when_it_is_idle() -> None:
    with start_worker("worker._IDLE_S = 0.05", 10) as process:
        assert process.wait() == 0


def test_a_process_whose_server_was_killed_ends_though_it_hangs(
    engine: Callable[[str], None],
) -> None:
    engine("time.sleep(1000)")
    with start_worker("", 0.2) as process:
        text = json.dumps(SIMPLE).encode()
        assert process.stdin is not None
        write_frame(process.stdin, SPECIFICATION, text)

        assert process.wait() == -signal.SIGALRM


def is_running(process: int) -> bool:
    """Whether it has not ended; one that only waits for its parent to notice has."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_the_engine_is_given_none_of_our_variables(
    monkeypatch: pytest.MonkeyPatch, engine: Callable[[str], None]
) -> None:
    engine("return json.dumps(sorted(os.environ)).encode()")
    for name in ("TFY_API_KEY", "GATEWAY_METRICS_TOKEN_FILE", "OF_OTHERS"):
        monkeypatch.setenv(name, "tok-secret-1234")

    names = await ChartRenderer().draw(SIMPLE)

    assert isinstance(names, bytes)
    assert "OF_OTHERS" in json.loads(names)
    assert [n for n in json.loads(names) if n.startswith(("TFY_", "GATEWAY_METRICS_"))] == []


async def test_a_picture_that_takes_too_long_is_given_up() -> None:
    drawn = await ChartRenderer(patience_s=0.01).draw(crowd(20_000))

    assert drawn == "it was not rendered within 0.01 seconds"


async def test_what_the_engine_refuses_is_said_in_our_words(
    used: ChartRenderer, caplog: pytest.LogCaptureFixture
) -> None:
    reason = await used.draw({**SIMPLE, "mark": "secret-mark"})

    assert reason == "it could not be drawn; see this server's log"
    assert "a picture could not be drawn" in caplog.text


async def test_without_the_extra_the_text_answers_and_names_it(
    ask: Ask, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as if it were not installed
    result = await ask(few, BARS)

    assert not result.is_error
    assert [block.type for block in result.content] == ["text"]
    assert text_of(result).splitlines()[1] == (
        "# no picture: this server has no chart renderer. Install it with the extra:"
        ' pip install "gateway-metrics-mcp[charts]"'
    )
    assert "gpt-4o|" in text_of(result)


def test_the_engine_is_never_imported_into_the_server(few: Path) -> None:
    code = f"""
import sys, anyio
from mcp.client import Client
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

async def main():
    async with Client(build_server(Settings(backend={str(few)!r}, ui=True))) as client:
        for form in ("table", "chart"):
            result = await client.call_tool("query_distribution", {BARS!r} | {{"format": form}})
            print(len(result.content), "vl_convert" in sys.modules)

anyio.run(main)
"""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )

    assert done.stdout.splitlines() == ["1 False", "2 False"]


@pytest.mark.usefixtures("drawn_here")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_without_the_setting_nothing_is_said_of_a_view(
    ask: Ask, few: Path, mode: str
) -> None:
    result = await ask(few, BARS, mode=mode)
    async with Client(build_server(Settings(backend=str(few))), mode=mode) as client:
        tools = await client.list_tools()
        resources = await client.list_resources()

    assert "gateway-metrics/view" not in (result.meta or {})
    assert [tool.meta for tool in tools.tools] == [None] * 4
    assert not any(str(one.uri).startswith("ui:") for one in resources.resources)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_with_the_setting_answers_bring_what_the_view_draws(
    ask: Ask, few: Path, mode: str
) -> None:
    uri = "ui://gateway-metrics/view"
    link = {"ui": {"resourceUri": uri}, "ui/resourceUri": uri}
    table = await ask(few, {**BARS, "format": "table"}, mode=mode, ui=True)
    plan = await ask(few, {**BARS, "format": "explain"}, mode=mode, ui=True)
    server = build_server(Settings(backend=str(few), ui=True))
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        (page,) = (await client.read_resource(uri)).contents
        listed = await client.list_resources()

    assert [tool.meta for tool in tools.tools] == [link, link, None, None]
    assert page.mime_type == "text/html;profile=mcp-app"
    assert page.meta == {"ui": {"prefersBorder": True}}
    assert [str(one.uri) for one in listed.resources].count(uri) == 1
    assert [block.type for block in table.content] == ["text"]
    assert "gateway-metrics/view" in (table.meta or {})
    assert "gateway-metrics/view" not in (plan.meta or {})


async def test_the_page_names_no_address(few: Path) -> None:
    async with Client(build_server(Settings(backend=str(few), ui=True))) as client:
        (page,) = (await client.read_resource("ui://gateway-metrics/view")).contents
    html = page.model_dump()["text"].replace("http://www.w3.org/2000/svg", "")

    for word in (
        "http:",
        "https:",
        "//cdn",
        "src=",
        "@import",
        "url(",
        "fetch(",
        "eval(",
        "innerHTML",
    ):
        assert word not in html
    assert "new Function" not in html


@pytest.mark.parametrize(
    ("dots", "least", "most"),
    [
        (500, 1600, 1700),
        (3000, 1200, 1500),
        pytest.param(4500, 800, 900, marks=pytest.mark.thorough),
    ],
    ids=["whole", "as few pixels less as it must", "half"],
)
async def test_a_large_picture_loses_as_few_pixels_as_it_must(
    used: ChartRenderer, dots: int, least: int, most: int
) -> None:
    image = await used.draw(confetti(dots))

    assert isinstance(image, bytes)
    assert len(image) <= 700_000
    assert least <= struct.unpack(">I", image[16:20])[0] <= most


async def test_a_picture_that_is_too_large_is_none(
    used: ChartRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vega, "MOST_BYTES", 50)

    assert await used.draw(SIMPLE) == "it would be too large"


@pytest.mark.thorough
async def test_a_picture_that_is_too_large_at_half_its_pixels_is_none(
    used: ChartRenderer,
) -> None:
    assert await used.draw(confetti(12_000)) == "it would be too large"
