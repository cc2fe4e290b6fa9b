"""Every ruling of docs/rulings.md has a test that is named for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent


def test_each_ruling_has_a_test_named_for_it() -> None:
    text = (TESTS.parent / "docs" / "rulings.md").read_text("utf-8")
    sources = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    names = re.findall(r"^(?:async )?def (test_\w+)", sources, re.MULTILINE)
    tested = {int(number) for name in names for number in re.findall(r"_r(\d+)(?=_)", name)}

    assert re.findall(r"^\| R(\d+) \|", text, re.MULTILINE) == [str(n) for n in range(1, 26)]
    assert set(range(1, 26)) - tested == set()
