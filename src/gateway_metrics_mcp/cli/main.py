"""The entry point: everything that a start needs before its packages are imported."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

_INTERRUPTED = 130
"""The shell convention for a command that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; `argv` defaults to the process's.

    Returns:
        The exit code: 0 success, 1 an explained failure, 2 wrong usage, 130 Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    # Imports create long-lived objects: collecting them takes a tenth of the start-up time. Each
    # command goes on to collect when its modules are imported.
    gc.disable()
    front = None
    if not argv or argv[0] == "serve" or argv[0].startswith("-"):
        from gateway_metrics_mcp.cli.front import Front  # not for other commands

        front = Front.open(argv, os.environ)
    # All other imports come after: they take time, in which the front answers.
    from gateway_metrics_mcp.cli.commands import run
    from gateway_metrics_mcp.runtime.concurrency import end_if_stuck

    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the end
    # The SDK moves the protocol to another descriptor while serving; text left in this buffer
    # would be flushed into the protocol stream at exit.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream here
    code = _INTERRUPTED
    try:
        code = run(argv, front)
    except* KeyboardInterrupt:  # also in a group, as of tasks
        pass
    except* BrokenPipeError:  # the reader has gone, as in `demo | head`
        # stdout now leads nowhere, so that the interpreter's flush at exit does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    end_if_stuck(code)
    return code
