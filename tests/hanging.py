"""Storage that hangs, made of a file lease: opening the file waits until the lease is given back.

Only Linux has leases. The kernel takes one back itself after 45 seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("file leases are Linux's", allow_module_level=True)
import fcntl


@contextmanager
def hanging(file: Path) -> Iterator[asyncio.Event]:
    """Until the end of the block, opening the file waits; the event is set once something does."""
    is_opened = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGIO, is_opened.set)  # the kernel asks for the lease back
    handle = os.open(file, os.O_RDWR)
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield is_opened
    finally:
        os.close(handle)
        loop.remove_signal_handler(signal.SIGIO)
