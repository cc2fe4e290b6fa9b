"""The interactive view in a real browser, under the rules that hosts set for such pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest
from mcp_types import CallToolResult
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

if TYPE_CHECKING:
    from selenium.webdriver import Chrome  # imported by who drives one, not by all who collect


class Host(Protocol):
    """The host page in a browser, which is in the view between two calls."""

    driver: Chrome
    asked: list[str]

    def show(self, result: CallToolResult, theme: str = "light") -> None: ...
    def send(self, message: dict[str, Any]) -> None: ...
    def heard(self) -> list[dict[str, Any]]: ...
    def read(self, expression: str, *arguments: Any) -> Any: ...
    def wait(self, is_so: Callable[[], Any]) -> Any: ...
    def broken(self) -> list[str]: ...

    @property
    def title(self) -> str: ...


Answer = Callable[..., CallToolResult]

pytestmark = pytest.mark.thorough

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"], "startTs": "2026-07-13"}
LINES: Final = {**COST, "interval": "1 day"}
COMPARED: Final = {**COST, "startTs": "2026-07-14", "endTs": "2026-07-15", "compareTo": "previous"}


def hover(host: Host, selector: str, dx: int = 0, dy: int = 0) -> str:
    """What the tip says with the pointer over an element, from its middle."""
    target = host.driver.find_element(By.CSS_SELECTOR, selector)
    heading = host.driver.find_element(By.ID, "title")
    # Where the pointer already is, from the test before, it would not move.
    moves = ActionChains(host.driver).move_to_element(heading)
    moves.move_to_element_with_offset(target, dx, dy).perform()
    tip = host.driver.find_element(By.ID, "tip")
    host.wait(tip.is_displayed)
    text: str = tip.text
    return text


def colours(host: Host, selector: str, property_: str) -> list[str]:
    script = (
        "[...document.querySelectorAll(arguments[0])].map((e) => getComputedStyle(e)[arguments[1]])"
    )
    found: list[str] = host.read(script, selector, property_)
    return found


def test_it_renders_lines_and_greets_its_host(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    methods = [message.get("method") for message in host.heard()]

    assert host.title == "sumCostInUSD by modelName"
    assert "models only, virtual-model rows excluded" in host.read("document.body.innerText")
    assert len(host.driver.find_elements(By.CSS_SELECTOR, "svg path.line")) == 4
    assert methods[:2] == ["ui/initialize", "ui/notifications/initialized"]
    assert "ui/notifications/size-changed" in methods
    assert host.heard()[0]["params"] == {
        "protocolVersion": "2026-01-26",
        "appInfo": {"name": "gateway-metrics", "version": "1"},
        "appCapabilities": {"availableDisplayModes": ["inline", "fullscreen"]},
    }


def test_the_host_gives_it_the_height_it_asks_for(host: Host, answer: Answer, many: Path) -> None:
    host.show(answer(many, {**COST, "startTs": "2026-07-08"}, ui=True))

    assert host.read("innerHeight") >= host.read("document.body.scrollHeight") > 400


def test_hovering_a_line_shows_the_exact_numbers(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    tip = hover(host, "svg circle:first-of-type")

    assert tip.split("\n") == ["2026-07-13", "gpt-4o", "1.25 USD", "claude", "0.5 USD"]


def test_hovering_a_partial_bucket_says_so(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    tip = hover(host, "svg circle:last-of-type")

    assert tip.split("\n") == [
        "2026-07-15",
        *("gpt-4o", "0.75 USD (partial)", "claude", "0.125 USD (partial)"),
    ]


def test_hovering_a_bar_shows_both_windows(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, COMPARED, ui=True))
    tip = hover(host, "svg rect.bar")

    assert tip.split("\n") == ["gpt-4o", "this window", "2.5 USD", "the earlier window", "1.25 USD"]


def test_a_series_is_switched_off_and_on_by_pointer(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    ticks = "[...document.querySelectorAll('svg text')].map((e) => e.textContent)"
    before = host.read(ticks)
    host.driver.find_element(By.CSS_SELECTOR, "#legend button").click()
    button = host.driver.find_element(By.CSS_SELECTOR, "#legend button")

    assert button.text == "gpt-4o"
    assert button.get_attribute("aria-pressed") == "false"
    assert len(host.driver.find_elements(By.CSS_SELECTOR, "svg path.line")) == 2
    assert host.read(ticks) != before, "the axis fits what is left"
    assert "gpt-4o" not in hover(host, "svg circle")

    button.click()

    assert host.read(ticks) == before


def test_all_of_it_can_be_reached_by_keyboard(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    keys = ActionChains(host.driver)
    keys.send_keys(Keys.TAB).send_keys(Keys.TAB).send_keys(Keys.SPACE).perform()
    focused = host.driver.switch_to.active_element

    assert focused.text == "gpt-4o", "the focus stays where it was"
    assert focused.get_attribute("aria-pressed") == "false"
    assert focused.value_of_css_property("outline-style") == "solid"

    keys = ActionChains(host.driver)
    keys.send_keys(Keys.SPACE).send_keys(Keys.TAB).send_keys(Keys.TAB)
    keys.send_keys(Keys.ARROW_RIGHT).send_keys(Keys.ARROW_RIGHT).perform()
    status = host.driver.find_element(By.ID, "status").get_attribute("textContent")

    assert status == "2026-07-14, gpt-4o, 2.5 USD, claude, 0 USD"
    assert host.driver.find_element(By.ID, "tip").is_displayed()
    assert host.driver.switch_to.active_element.get_attribute("role") == "img"

    ActionChains(host.driver).send_keys(Keys.ESCAPE).perform()

    assert not host.driver.find_element(By.ID, "tip").is_displayed()


def test_the_table_has_every_figure(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, LINES, ui=True))
    host.driver.find_element(By.ID, "toggle").click()
    rows = host.driver.find_elements(By.CSS_SELECTOR, "#tables tr")

    assert not host.driver.find_element(By.ID, "charts").is_displayed()
    assert [[cell.text for cell in row.find_elements(By.XPATH, "*")] for row in rows] == [
        ["time", "gpt-4o", "claude"],
        ["2026-07-13", "1.25 USD", "0.5 USD"],
        ["2026-07-14", "2.5 USD", "0 USD"],
        ["2026-07-15", "0.75 USD", "0.125 USD"],
    ]

    host.driver.find_element(By.ID, "toggle").click()

    assert host.driver.find_element(By.ID, "charts").is_displayed()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_the_theme_of_its_host(host: Host, answer: Answer, few: Path, theme: str) -> None:
    host.show(answer(few, LINES, ui=True), theme)
    (back,) = colours(host, "body", "backgroundColor")
    inks = colours(host, "h1, svg text", "color")

    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 23, 23)"}[theme]
    assert back not in inks


def test_it_follows_a_change_of_theme_and_the_hosts_colours(
    host: Host, answer: Answer, few: Path
) -> None:
    host.show(answer(few, LINES, ui=True))
    variables = {
        "--color-background-primary": "rgb(1, 2, 3)",
        "--color-text-primary": "url(https://example.com/x)",
        "--other": "red",
    }
    context = {"theme": "dark", "styles": {"variables": variables}}
    host.send({"method": "ui/notifications/host-context-changed", "params": context})
    host.wait(lambda: colours(host, "body", "backgroundColor") == ["rgb(1, 2, 3)"])

    assert colours(host, "h1", "color") == ["rgb(242, 242, 242)"]
    assert host.read("document.documentElement.style.getPropertyValue('--other')") == ""


@pytest.mark.parametrize("arguments", [COST, {**LINES, "limit": 12}], ids=["bars", "lines"])
def test_hostile_names_stay_text(
    host: Host, answer: Answer, hostile: Path, arguments: dict[str, Any]
) -> None:
    host.show(answer(hostile, arguments, ui=True))
    host.driver.find_element(By.ID, "toggle").click()
    text = host.read("document.querySelector('#tables').textContent")

    for shown in ("onerr", "</script>", "datum.value", "signal", "constructor", "__proto__"):
        assert shown in text
    assert host.read("document.querySelectorAll('img, main script, iframe').length") == 0
    assert host.read("document.title") == "Answer of the gateway's metrics"
    assert "\u202e" not in text


@pytest.mark.parametrize("arguments", [COST, LINES, COMPARED], ids=["bars", "lines", "pairs"])
def test_it_fetches_nothing_and_breaks_no_rule(
    host: Host, answer: Answer, few: Path, arguments: dict[str, Any]
) -> None:
    host.show(answer(few, arguments, ui=True))
    hover(host, "svg")
    host.driver.find_element(By.ID, "toggle").click()

    assert host.broken() == []
    assert set(host.asked) <= {"/host.html", "/view.html", "/favicon.ico"}
    assert host.read("performance.getEntriesByType('resource').length") == 0


def test_a_page_that_broke_the_rules_would_be_found_out(
    host: Host, answer: Answer, few: Path
) -> None:
    host.show(answer(few, COST, ui=True))
    # Later, since the driver's own call may evaluate what a page may not.
    host.driver.execute_script("fetch('/secret').catch(() => {}); setTimeout(() => eval('1'))")
    host.wait(lambda: len(host.broken()) >= 3)

    assert {*host.broken()} > {"connect-src", "script-src"}
    assert "/secret" not in host.asked


def test_an_error_is_shown_as_text(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, {**COST, "startTs": "<b>never</b>"}, ui=True))

    assert host.title == "No answer"
    assert "<b>never</b>" in host.driver.find_element(By.ID, "text").text
    assert not host.driver.find_element(By.ID, "toggle").is_displayed()


def test_it_answers_what_a_host_may_ask(host: Host, answer: Answer, few: Path) -> None:
    host.show(answer(few, COST, ui=True))
    for number, method in enumerate(("ping", "ui/resource-teardown", "tools/list"), 7):
        host.send({"id": number, "method": method, "params": {}})
    host.wait(lambda: any(m.get("id") == 9 for m in host.heard()))

    assert [m for m in host.heard() if m.get("id", 0) >= 7] == [
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        {"jsonrpc": "2.0", "id": 8, "result": {}},
        {"jsonrpc": "2.0", "id": 9, "error": {"code": -32601, "message": "Method not found"}},
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_of_it_are_there_to_be_looked_at(
    host: Host, answer: Answer, many: Path, few: Path, tmp_path: Path, theme: str
) -> None:
    asked = {**COST, "startTs": "2026-07-08", "interval": "1 day", "limit": 14}
    for name, directory, arguments in (
        ("lines", many, asked),
        ("bars", many, COST),
        ("pairs", few, COMPARED),
    ):
        host.show(answer(directory, arguments, ui=True), theme)
        if name == "lines":
            hover(host, "svg")
        host.driver.switch_to.default_content()
        picture = tmp_path / f"{name}-{theme}.png"

        assert host.driver.save_screenshot(str(picture))
        assert picture.stat().st_size > 10_000
