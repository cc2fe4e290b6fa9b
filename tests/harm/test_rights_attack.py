"""Callers with rights of their own attack at random: they learn nothing of the rows of others."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio.abc import SocketStream
from tests.harm.rights import ASKERS, Site, World, attack, draw, make_question, make_rows

from gateway_metrics_mcp.query.vocabulary import API_PATH


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(make_rows(draw(1)), tmp_path)
    world.issue()
    return world


def hide_emails(world: World) -> None:
    """Serve addresses as hashes."""
    key = world.root / "hidden.key"
    key.write_text("0123456789abcdef0123456789abcdef", "utf-8")
    world.settings = {"hide_emails": True, "hide_emails_key": key}


async def test_random_questions_reveal_nothing_of_others(world: World) -> None:
    seen = await attack(world, 1, 60, ASKERS[:5:2])

    assert seen["reckoned"]
    assert seen["planted"]
    assert seen["read"]


async def test_random_questions_reveal_no_address(world: World) -> None:
    hide_emails(world)

    assert (await attack(world, 2, 20, ASKERS[:1]))["planted"]


async def test_files_that_cannot_be_read_reveal_nothing_of_others(world: World) -> None:
    world.damages = draw(3)

    assert (await attack(world, 3, 20, ASKERS[2:3]))["unread"]


async def test_rows_that_were_imported_reveal_nothing_of_others(world: World) -> None:
    world.store = world.import_files

    assert (await attack(world, 4, 12, ASKERS[2:3]))["planted"]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
async def test_many_random_questions_reveal_nothing_of_others(world: World, seed: int) -> None:
    seen = await attack(world, seed, 500, ASKERS)

    assert seen["reckoned"] > 20
    assert seen["read"] > 20


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [4, 5])
async def test_many_random_questions_reveal_no_address(world: World, seed: int) -> None:
    hide_emails(world)

    assert (await attack(world, seed, 250, ASKERS))["read"] > 10


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [8, 9])
async def test_many_rows_that_were_imported_reveal_nothing_of_others(
    world: World, seed: int
) -> None:
    world.store = world.import_files

    assert (await attack(world, seed, 250, ASKERS))["read"] > 10


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [6, 7])
async def test_many_files_that_cannot_be_read_reveal_nothing_of_others(
    world: World, seed: int
) -> None:
    world.damages = draw(seed)

    assert (await attack(world, seed, 250, ASKERS[:5]))["unread"] > 20


# --- beside callers who break off ---


@dataclass
class Pest:
    """A caller with a token who begins requests and ends none; the oldest are hung up."""

    site: Site
    token: str
    chance: Random
    most: int = 30
    open: list[SocketStream] = field(default_factory=list)

    async def step(self) -> None:
        """One more connection."""
        which, path = self.chance.choice([("http", "/mcp"), ("api", API_PATH)])
        start, said = f"{path} HTTP/1.1\r\nhost: localhost\r\n", f"Bearer {self.token}"
        start += f"authorization: {said}\r\naccept: application/json, text/event-stream\r\n"
        post = f"POST {start}content-type: application/json\r\ncontent-length: 900\r\n\r\n"
        sent = self.chance.choice([post, post + '{"a', f"GET {start}\r\n", f"POST {start}", ""])
        port = int(self.site.urls[which].rpartition(":")[2])
        stream = await anyio.connect_tcp("127.0.0.1", port)
        self.open.append(stream)
        if sent:
            await stream.send(sent.encode())
        if self.chance.random() < 0.2:
            await self.open.pop().aclose()  # in mid-body, most of them
        if len(self.open) > self.most:
            await self.open.pop(0).aclose()

    async def aclose(self) -> None:
        """Hang up everywhere."""
        for stream in self.open:
            await stream.aclose()


def measure_memory() -> tuple[int, int]:
    """The objects that a collection leaves, and the resident bytes (of Linux); the clients' too."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except FileNotFoundError:
        pages = 0
    return len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.thorough
async def test_slow_and_broken_callers_lock_nobody_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    chance = draw(7)
    questions = [make_question(chance, ()) for _ in range(40)]
    faults, sizes = list[str](), list[tuple[int, int]]()

    async with (
        world.serve("whole", world.rows, connections=8, cache_bytes=0) as site,
        site.enter("ada") as ada,
    ):
        quiet = [await ada.ask(question) for question in questions]
        pest = Pest(site, world.tokens["nobody"], chance)
        for _ in range(16):
            for question, before in zip(questions, quiet, strict=True):
                await pest.step()
                if (answer := await ada.ask(question)) != before:
                    faults.append(f"{question}:\n{answer}\nand before\n{before}")
            sizes.append(measure_memory())
        await pest.aclose()

    assert not faults, "\n\n".join(faults)
    objects, resident = zip(*sizes, strict=True)
    assert min(objects[3:]) < objects[0] * 1.1, objects
    assert min(resident[-3:]) <= max(resident[:4]) * 1.04, resident
    assert [record for record in caplog.records if record.exc_info] == []
