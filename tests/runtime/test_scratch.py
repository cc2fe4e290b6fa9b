"""Temporary folders of processes that were killed, and disks that are full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import translate
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.runtime.scratch import ScratchFolder, is_full, remove_dead
from gateway_metrics_mcp.server.masking import read_hiding_key
from gateway_metrics_mcp.settings import Settings

MAKE = (
    "import os, sys; from pathlib import Path;"
    "from gateway_metrics_mcp.runtime.scratch import ScratchFolder;"
    "made = ScratchFolder('of-', Path(sys.argv[1])); (made.path / 'data').touch(); os._exit(9)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_the_folder_of_a_killed_process_goes_and_those_in_use_stay(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    subprocess.run([sys.executable, "-c", MAKE, tmp_path], env=environment, check=False)  # noqa: S603
    (tmp_path / "of-someone").mkdir()  # not known to be ours
    with ScratchFolder("of-", tmp_path) as used:
        before = len([*tmp_path.iterdir()])
        remove_dead("of-", tmp_path)
        left = {*tmp_path.iterdir()}

    assert before == 3
    assert left == {used, tmp_path / "of-someone"}
    assert not used.exists()
    remove_dead("of-", tmp_path / "nowhere")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_from_other_faults(number: int) -> None:
    text = f'Could not write file "/x": {os.strerror(number)}'

    assert is_full(OSError(number, "of the system"))
    assert is_full(duckdb.IOException(text))
    assert not is_full(OSError(errno.EACCES, "denied"))
    assert "the disk is full" in str(translate(duckdb.IOException(text), "t"))


def test_a_key_that_the_disk_has_no_space_for_is_not_made_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(SettingsError, match=r"hidden-emails\.key cannot be .*: its disk is full\."):
        read_hiding_key(Settings(hide_emails=True), state=tmp_path)
    assert [*tmp_path.iterdir()] == []
