"""Runs commands of ours in processes that need not import: each is forked from one that has.

Importing takes most of a start. `forked.py ADDRESS [-c CODE] ...` is to be started like
`python -m gateway_metrics_mcp ...` or `python -c CODE ...`: it hands its streams, variables and
signals on to a process forked by `forked.py --serve DESCRIPTOR`, and ends as that does. What
depends on imports or on Python's own start has to start Python.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Final, NoReturn

ADDRESS: Final = "FORKED_AT"
"""The variable that tells the processes of a suite where the one that forks listens."""

_STREAMS: Final = (0, 1, 2)
_HANDED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HEAD: Final = 8
"""Bytes of a request's length, in hexadecimal digits."""
_LOADED: Final = (
    "duckdb",
    "uvicorn",
    "gateway_metrics_mcp.backends.duckdb.backend",
    "gateway_metrics_mcp.backends.gateway.backend",
    "gateway_metrics_mcp.cli.ask.command",
    "gateway_metrics_mcp.cli.check",
    "gateway_metrics_mcp.cli.ingest.command",
    "gateway_metrics_mcp.cli.install.command",
    "gateway_metrics_mcp.cli.mcp_client",
    "gateway_metrics_mcp.cli.serve",
    "gateway_metrics_mcp.http.transports",
    "gateway_metrics_mcp.server.app",
)


# The side that is started.


def command() -> tuple[str, ...]:
    """As `python -m gateway_metrics_mcp`, but for the imports."""
    return (sys.executable, "-I", "-S", __file__, os.environ[ADDRESS])


def start(address: str, argv: list[str]) -> NoReturn:
    """Have the command run, and end as it does."""
    streams = [
        each for each in _STREAMS if _is_open(each)
    ]  # a socket may take a closed one's place
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        for number in _HANDED_ON:
            signal.signal(number, lambda number, _: line.send(bytes([number])))
        request = {"argv": argv, "streams": streams, "cwd": os.getcwd(), "env": {**os.environ}}  # noqa: PTH109
        body = json.dumps(request).encode()
        socket.send_fds(line, [f"{len(body):0{_HEAD}x}".encode()], streams)
        line.sendall(body)
        for each in streams:  # else a pipe would not end with the command
            os.close(each)
        code = int(line.recv(_HEAD))
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True


# The side that forks.


def serve(descriptor: int) -> None:
    """Fork a process for each request until stdin ends; import what they need at the first."""
    del sys.path[0]  # this file's folder: the rooms of tests are no packages of ours
    with socket.socket(fileno=descriptor) as listener:
        sources = [0, listener.fileno()]
        while 0 not in (ready := select.select(sources, [], [], 1)[0]):
            if ready:
                line, _ = listener.accept()
                for name in _LOADED:
                    __import__(name)
                gc.freeze()
                if os.fork() == 0:
                    listener.close()
                    _run(line)
                    return
                line.close()
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def _run(line: socket.socket) -> None:
    """Fork the command itself, hand signals on to it, and say how it ended."""
    head, streams, *_ = socket.recv_fds(line, _HEAD, len(_STREAMS))
    with line.makefile("rb", buffering=0) as file:
        body = b""
        while len(body) < int(head, 16):
            body += file.read(int(head, 16) - len(body))
    ended, end = os.pipe()
    os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end)
    if (process := os.fork()) == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (line.detach(), ended, end):
            os.close(each)
        _become(json.loads(body), streams)
        return
    for stream in {*streams, *_STREAMS}:
        os.close(stream)
    while True:
        if line.fileno() in select.select([line.fileno(), ended], [], [])[0]:
            # Whoever started it has been killed: nobody waits for it any more.
            for number in line.recv(64) or [signal.SIGKILL]:
                os.kill(process, number)
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            line.send(f"{os.waitstatus_to_exitcode(status)}".encode())
            os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take the streams, variables and place of whoever started it, then run."""
    for stream in _STREAMS:
        os.close(stream)
    for stream, given in zip(request["streams"], streams, strict=True):
        os.dup2(given, stream)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = (
        open(each, mode, line, "utf-8", errors, closefd=False)  # noqa: SIM115 - until the end
        if each in request["streams"]
        else None
        for each, mode, line, errors in (
            (0, "r", -1, "strict"),
            (1, "w", -1, "strict"),
            (2, "w", 1, "backslashreplace"),
        )
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    argv = request["argv"]
    if argv[:1] == ["-c"]:
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        return
    from gateway_metrics_mcp.cli.main import main

    sys.argv = ["gateway-metrics-mcp", *argv]
    sys.exit(main())


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(int(sys.argv[2]))
    else:
        start(sys.argv[1], sys.argv[2:])
