"""The process that draws charts: framed specifications on stdin, framed PNGs on stdout.

A process and not a thread, because the engine holds the interpreter lock while it draws: each
chart would block all other callers for 0.2 s. It draws one after another, and ends at the end of
stdin, so also when the server dies, and when it is idle.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
from contextlib import suppress
from typing import IO, Any, Final

SPECIFICATION: Final = 0
PICTURE: Final = 1
REFUSAL: Final = 2
"""The engine's message follows."""

_HEAD: Final = struct.Struct(">B?I")
"""Begins each frame: its kind, whether the process ends after it, and how many bytes follow."""
_MOST_BYTES: Final = 100_000_000
"""No frame is larger."""
_IDLE_S: Final = 60.0
# The engine keeps what it has once needed: 105 MB at first, 135 after ten pictures, 210 after one
# of 20,000 marks. Its count is limited too, for what leaks without showing soon.
_MOST_MB: Final = 300
_MOST_DRAWINGS: Final = 500


def _draw(specification: dict[str, Any]) -> bytes:
    """Draw in the largest scale that fits; no URL in the specification is ever fetched."""
    # Not at the top: the server imports this module for the form of its frames.
    from vl_convert import vegalite_to_png  # an extra, of 84 MB

    from gateway_metrics_mcp.rendering.charts.vega import MOST_BYTES, SCALES

    image = b""
    for scale in SCALES:
        image = vegalite_to_png(specification, scale=scale, allowed_base_urls=[])
        if len(image) <= MOST_BYTES:
            break
    return image


def read_frame(source: IO[bytes]) -> tuple[int, bool, bytes]:
    """A frame's kind, whether the process ends after it, and its content.

    Raises:
        EOFError: if the stream ends before, or has something else.
    """
    kind, is_last, size = _HEAD.unpack(_read(source, _HEAD.size))
    if kind > REFUSAL or size > _MOST_BYTES:
        raise EOFError
    return kind, is_last, _read(source, size)


def _read(source: IO[bytes], size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise EOFError
    return content


def write_frame(sink: IO[bytes], kind: int, content: bytes, *, is_last: bool = False) -> None:
    """Write a frame."""
    sink.write(_HEAD.pack(kind, is_last, len(content)) + content)
    sink.flush()


def _serve(source: IO[bytes], sink: IO[bytes], patience_s: float) -> None:
    """Draw each specification, until the stream ends or the process is idle or worn."""
    for number in range(1, _MOST_DRAWINGS + 1):
        _wait_for_input(source)
        _, _, body = read_frame(source)
        # A server that was killed cannot kill a drawing that hangs: the alarm does.
        _set_alarm(patience_s)
        try:
            kind, answer = PICTURE, _draw(json.loads(body))
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is for the log
            kind, answer = REFUSAL, str(error).encode("utf-8", "replace")[-1000:]
        _set_alarm(0)
        is_last = number == _MOST_DRAWINGS or _peak_mb() > _MOST_MB
        write_frame(sink, kind, answer, is_last=is_last)
        if is_last:
            return


def _wait_for_input(source: IO[bytes]) -> None:
    """Return when there is something to read.

    Raises:
        EOFError: if there is nothing for a minute.
    """
    if os.name != "posix":  # select() takes no pipes: this process lives as long as the server
        return
    if not select.select([source], [], [], _IDLE_S)[0]:
        raise EOFError


def _set_alarm(seconds: float) -> None:
    """End this process after so many seconds; with 0, never."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _peak_mb() -> float:
    """The most memory that this process has used, in MB; 0 if it is unknown."""
    # Linux begins `ru_maxrss` of a new program at the memory of the process that started it: a
    # server of 300 MB would have every picture drawn by a new process.
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Serve stdin and stdout. What else is printed goes to nowhere, not into a frame."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    with suppress(EOFError, BrokenPipeError):
        _serve(source, sink, float(sys.argv[1]))


if __name__ == "__main__":
    main()
