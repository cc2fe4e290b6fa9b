"""The interactive view (MCP Apps): one HTML page that draws the specification in `_meta`.

The page has no URL in it, so it also runs where hosts forbid fetching. The scripts are in view/.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # `ask` links no view, and needs no SDK
    from mcp.server.apps import Apps

VIEW_URI: Final = "ui://gateway-metrics/view"
VIEW_META: Final = "gateway-metrics/view"
"""The `_meta` key of a result's Vega-Lite specification."""

_FOLDER: Final = Path(__file__).parent / "view"
_SCRIPTS: Final = ("scales.js", "drawing.js", "controls.js", "host.js")


def link_view() -> dict[str, Any]:
    """The `_meta` of a tool whose answers the page shows; older hosts read the flat key."""
    return {"ui": {"resourceUri": VIEW_URI}, "ui/resourceUri": VIEW_URI}


@cache
def read_page() -> str:
    """The page, with its style and scripts inlined."""
    scripts = "\n".join(_read(name) for name in _SCRIPTS)
    page = _read("page.html").replace("/* style.css */", _read("style.css"))
    # One function around all scripts, so that none of their names is global.
    return page.replace("/* scripts */", f'"use strict";\n(() => {{\n{scripts}\n}})();')


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def offer_view() -> Apps:
    """The MCP Apps extension with the page; it requests no domain and no permission."""
    from mcp.server.apps import Apps

    apps = Apps()
    apps.add_html_resource(
        VIEW_URI,
        read_page(),
        name="view",
        title="View of an answer",
        description="draws the answer of a query tool, for hosts that show MCP Apps",
        prefers_border=True,
    )
    return apps
