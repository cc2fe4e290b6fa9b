#!/usr/bin/env bash
# Surprise: the same uvicorn server answers with Nagle's algorithm on or off, depending on who made
#   its listening socket. Given a socket of `socket.create_server` (to know the port, or from a
#   supervisor), its connections have TCP_NODELAY 0; given host and port, 1. asyncio sets the option
#   only on sockets whose protocol is IPPROTO_TCP, and `create_server` makes them with protocol 0.
# Versions: uvicorn 0.54.0, h11 0.16.0, on CPython 3.11 and Linux.
# Why it matters: uvicorn writes head and body of a response one after the other. With Nagle the body
#   waits for the client's delayed acknowledgement: some 40 ms a response on a kept connection.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    uvicorn==0.54.0 h11==0.16.0
cat >"$folder/nodelay.py" <<'PY'
import http.client
import socket
import threading
import time
from importlib.metadata import version
from statistics import median

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

SEEN = []


class Protocol(H11Protocol):
    def connection_made(self, transport):
        accepted = transport.get_extra_info("socket")
        SEEN.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        super().connection_made(transport)


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def serve(sockets):
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=Protocol, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        taken.append((time.perf_counter() - begun) * 1e3)
    connection.close()
    server.should_exit = True
    thread.join()
    return SEEN.pop(), median(taken)


given, given_ms = serve([socket.create_server(("127.0.0.1", 0))])
own, own_ms = serve(None)
print(f"uvicorn {version('uvicorn')}, h11 {version('h11')}")
print(f"a given socket:     TCP_NODELAY {given}, median {given_ms:.1f} ms a request")
print(f"host and port:      TCP_NODELAY {own}, median {own_ms:.1f} ms a request")
assert given == 0, "changed: a given socket's connections have TCP_NODELAY"
assert own != 0, "changed: host and port no longer give TCP_NODELAY"
PY
"$folder/venv/bin/python" "$folder/nodelay.py"
