"""The socket that the commands serve on."""

from __future__ import annotations

import socket

from gateway_metrics_mcp.cli.serve import listen


def test_connections_send_small_parts_at_once() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
