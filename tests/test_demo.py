"""The demo, from the command to the stories it is to tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway_metrics_mcp.backends.demo.backend import DEFAULT_SEED
from gateway_metrics_mcp.backends.demo.data import tell_stories
from gateway_metrics_mcp.cli.demo import QUESTIONS


def first_rows(text: str) -> list[str]:
    """The first row of each table."""
    return re.findall(r"^---(?:\|---)*\n(.*)$", text, flags=re.MULTILINE)


def test_the_demo_asks_five_questions_and_the_answers_tell_both_stories(tmp_path: Path) -> None:
    days = {datetime.now(UTC).date()}
    done = subprocess.run(
        [sys.executable, "-m", "gateway_metrics_mcp", "demo"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    days.add(datetime.now(UTC).date())

    assert (done.returncode, done.stderr) == (0, "")
    parts = done.stdout.split("\n=== ")[1:]
    assert [part.splitlines()[0] for part in parts] == [
        f"{number}. {title}" for number, (title, _) in enumerate(QUESTIONS, 1)
    ]
    picture = re.findall(r"^picture: (.*)$", parts[1], flags=re.MULTILINE)
    assert Path(picture[0]).read_bytes().startswith(b"\x89PNG")
    assert Path(picture[0]).is_relative_to(tmp_path)
    stories = [tell_stories(DEFAULT_SEED, day) for day in days]  # midnight may come in between
    latency, spend = first_rows(parts[2])[0], first_rows(parts[3])[0]
    assert any(latency.startswith(f"{s.slow_model}|{s.slow_environment}|") for s in stories)
    assert any(spend.startswith(f"{s.spend_account}|{s.spend_model}|") for s in stories)
