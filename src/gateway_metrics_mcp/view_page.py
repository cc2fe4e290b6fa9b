"""The page of the interactive view, as an extension that tells hosts of it (MCP Apps)."""

from __future__ import annotations

from mcp.server.apps import Apps

from gateway_metrics_mcp.charts.view import read_page


def offer_view(uri: str) -> Apps:
    """The extension with the page; it asks for no address and no permission."""
    apps = Apps()
    apps.add_html_resource(
        uri,
        read_page(),
        name="view",
        title="View of an answer",
        description="draws the answer of a query tool, for hosts that show MCP Apps",
        prefers_border=True,
    )
    return apps
