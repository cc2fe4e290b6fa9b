"""Lines in the view: where they lead, what they are called, and in which unit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest
from mcp_types import CallToolResult
from selenium.webdriver.common.by import By

if TYPE_CHECKING:
    from selenium.webdriver import Chrome  # imported by who drives one, not by all who collect


class Host(Protocol):
    """The host page in a browser."""

    driver: Chrome

    def show(self, result: CallToolResult, theme: str = "light") -> None: ...
    def read(self, expression: str, *arguments: Any) -> Any: ...


Answer = Callable[..., CallToolResult]

pytestmark = pytest.mark.thorough

DAYS: Final = {"startTs": "2026-07-13", "interval": "1 day"}
LINES: Final = {**DAYS, "aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
RATES: Final = ["rateSum inputTokens", "ratePerMinute inputTokens", "avg inputTokens"]

UPRIGHT: Final = """
    [...document.querySelectorAll("svg text[transform]")].map((text) => {
        const [part, whole] = [text, text.ownerSVGElement].map((e) => e.getBoundingClientRect());
        return [text.textContent, part.top >= whole.top && part.bottom <= whole.bottom];
    })
"""
"""The titles of the axes of values, and whether they are within their drawing."""


def test_a_partial_bucket_at_either_end_has_a_dotted_line_of_its_own(
    host: Host, answer: Answer, many: Path
) -> None:
    host.show(answer(many, {**LINES, "startTs": "2026-07-08T06:00Z", "limit": 1}, ui=True))
    selector = "'path.line[stroke-dasharray=\"2 3\"]'"
    drawn = host.read(f"[...document.querySelectorAll({selector})].map((e) => e.getAttribute('d'))")

    assert [(path.count("M"), path.count("L")) for path in drawn] == [(2, 2), (2, 2)]


def test_a_single_line_of_groups_has_its_name(host: Host, answer: Answer, many: Path) -> None:
    asked = {**LINES, "aggregations": ["avg latencyMs"], "limit": 1}
    host.show(answer(many, asked, ui=True))
    button = host.driver.find_element(By.CSS_SELECTOR, "#legend button")

    assert button.text == "model-00"

    button.click()

    assert host.driver.find_elements(By.CSS_SELECTOR, "svg path.line") == []

    host.show(answer(many, {**LINES, "groupBy": []}, ui=True))

    assert not host.driver.find_element(By.ID, "legend").is_displayed()


def test_the_title_of_an_axis_has_its_unit_however_long_its_name_is(
    host: Host, answer: Answer, few: Path
) -> None:
    host.show(answer(few, {**DAYS, "aggregations": RATES}, ui=True))

    assert host.read(UPRIGHT) == [
        ["rateSumInputTokens (tokens/s)", True],
        ["ratePerMinuteI…s (tokens/min)", True],
        ["avgInputTokens (tokens)", True],
    ]
