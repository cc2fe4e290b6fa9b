"""`ask` as a process: its terminal, its pipes, its signals."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.cli.ask.conftest import Server, Start
from tests.cli.ask.test_answers import ALIGNED, BY_MODEL, DAY


def test_in_a_terminal_columns_are_aligned(gateway: Server, start: Start) -> None:
    ours, theirs = pty.openpty()
    process = start(BY_MODEL, gateway.environ, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 10_000):
            shown += part
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    finally:
        os.close(ours)
    _, err = process.communicate()

    assert (process.returncode, err) == (0, "")
    assert shown.decode().replace("\r\n", "\n") == ALIGNED


def test_whoever_stops_reading_breaks_nothing(gateway: Server, start: Start) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = start((*BY_MODEL, "--fail-if", "sumCostInUSD > 1"), gateway.environ, stdout=theirs)
    os.close(theirs)
    _, err = process.communicate()

    assert process.returncode == 3
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_an_encoding_without_a_letter_prints_its_number(gateway: Server, start: Start) -> None:
    gateway.rows = [{"modelName": "モデル", "total": 2}, {"modelName": "own", "total": 1}]
    environ = {**gateway.environ, "PYTHONIOENCODING": "ascii"}

    python = (sys.executable, "-m", "gateway_metrics_mcp")
    process = start(("distribution", *DAY, "--by", "modelName"), environ, python)
    out, err = process.communicate()

    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-3:] == [r"\u30e2\u30c7\u30eb|2", "own|1", "ALL|50"]


def test_an_interrupt_is_quiet(gateway: Server, start: Start) -> None:
    gateway.may_answer.clear()
    process = start(BY_MODEL, gateway.environ)
    gateway.has_asked.wait(60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    gateway.may_answer.set()

    assert (process.returncode, out, err) == (130, "", "")


LIMITED: Final = (*BY_MODEL, "--fail-if", "sumCostInUSD > 1")


@pytest.mark.parametrize(("argv", "code"), [(BY_MODEL, 1), (LIMITED, 3)], ids=["plain", "limited"])
def test_a_disk_that_is_full_is_named_and_a_passed_limit_still_counts(
    argv: Sequence[str], code: int, gateway: Server, start: Start
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start(argv, gateway.environ, stdout=full)
        _, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert "the answer cannot be written: No space left on device" in err
    assert ("fault" in err, "Exception" in err, ": sumCostInUSD of " in err) == (
        False,
        False,
        code == 3,
    )


def test_a_closed_stdout_leaves_the_exit_code(gateway: Server, start: Start) -> None:
    process = start(LIMITED, gateway.environ, stdout=None, preexec_fn=lambda: os.close(1))
    _, err = process.communicate(timeout=60)

    assert (process.returncode, "Traceback" in err) == (3, False)
