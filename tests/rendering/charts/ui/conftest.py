"""Chromium with a host page that speaks the protocol, and the view within it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
from mcp_types import CallToolResult

from gateway_metrics_mcp.server.view_page import read_page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome  # imported by who drives one, not by all who collect

HERE: Final = Path(__file__).parent
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; media-src 'self' data:; connect-src 'none'"
)
"""What the specification of MCP Apps has hosts allow a page that asks for nothing."""

WATCH: Final = """<head><script>
const broken = [];
addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
addEventListener("error", (event) => broken.push(event.message));
addEventListener("unhandledrejection", (event) => broken.push(String(event.reason)));
</script>"""
"""Before the page's own scripts: what it breaks. The browser's log has nothing of a sandbox."""

SETTLED: Final = """
    innerHeight >= document.body.scrollHeight
    && [...document.querySelectorAll("svg")].every(
        (svg) => svg.viewBox.baseVal.width === document.getElementById("charts").clientWidth)
"""
"""Whether the host has given the height and the view has drawn for the width that it got."""

SWITCHES: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=900,1200",
    "--force-device-scale-factor=1",
)


class Host:
    """The host page in a browser."""

    def __init__(self, driver: Chrome, url: str, asked: list[str]) -> None:
        self.driver = driver
        self.asked = asked
        """The paths that were fetched."""
        self._url = url

    def show(self, result: CallToolResult, theme: str = "light") -> None:
        """Open the view of a result, and go into it once it has drawn."""
        self.asked.clear()
        self.driver.switch_to.default_content()
        self.driver.get(f"{self._url}/host.html")
        body = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.driver.execute_script("show(arguments[0], arguments[1])", body, theme)
        self.driver.switch_to.frame("view")
        self.wait(lambda: self.title not in ("", "Waiting for an answer"))
        self.wait(lambda: self.read(SETTLED))

    def send(self, message: dict[str, Any]) -> None:
        """Say something as the host, and be in the view again."""
        self.driver.switch_to.default_content()
        self.driver.execute_script("send(arguments[0])", message)
        self.driver.switch_to.frame("view")

    def heard(self) -> list[dict[str, Any]]:
        """What the view has said."""
        self.driver.switch_to.default_content()
        messages: list[dict[str, Any]] = self.driver.execute_script("return heard")
        self.driver.switch_to.frame("view")
        return messages

    @property
    def title(self) -> str:
        """The heading of the view."""
        return str(self.read("document.getElementById('title')?.textContent ?? ''"))

    def read(self, expression: str, *arguments: Any) -> Any:
        """The value of an expression in the view."""
        return self.driver.execute_script(f"return ({expression})", *arguments)

    def broken(self) -> list[str]:
        """The rules that the page broke, and the errors of its scripts."""
        found: list[str] = self.read("broken")
        return found

    def wait(self, is_so: Callable[[], Any]) -> Any:
        """What comes true within ten seconds."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: is_so())


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium with a profile of its own."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail(
            "chromium and chromedriver are needed: apt-get install chromium chromium-driver"
        )
    options = ChromeOptions()
    options.binary_location = program
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    chrome = Chrome(options=options, service=ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def site() -> Iterator[tuple[str, list[str]]]:
    """The host page and the view on loopback, and the paths that were asked for."""
    asked: list[str] = []
    view = read_page().replace("<head>", WATCH)
    pages = {"/host.html": (HERE / "host.html").read_text("utf-8"), "/view.html": view}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            if self.path == "/view.html":
                self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def host(browser: Chrome, site: tuple[str, list[str]]) -> Host:
    """The host page."""
    return Host(browser, *site)


@pytest.fixture(scope="session")
def answer(ask: Callable[..., Any]) -> Callable[..., CallToolResult]:
    """Ask a question from a test that is not async, as browser tests are."""

    def answer(directory: Path, arguments: dict[str, Any], **settings: Any) -> CallToolResult:
        async def run() -> CallToolResult:
            result: CallToolResult = await ask(
                directory, {"format": "table", **arguments}, **settings
            )
            return result

        return anyio.run(run)

    return answer
