"""The start-up front of stdio: answers a session's first requests while the SDK is imported.

Importing the SDK takes most of a start, and a client's first requests (`initialize` or
`server/discover`, and the lists) have the same answers at each start. So the SDK's answers are
kept, by all that they depend on, and the next start repeats them at once. The SDK still receives
every line, unchanged and in order; its answer to a request that was answered here is compared and
dropped. Not used on Windows or over HTTP.
"""

# Only what Python's own start has imported, and small modules: this runs before everything else.
from __future__ import annotations

import hashlib
import io
import os
import select
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROMPTS: Final = os.path.join(os.path.dirname(os.path.dirname(_PACKAGE)), "prompts")
"""Where an editable install has the prompts; a wheel has them in the package."""
VARIABLES: Final = ("GATEWAY_METRICS_", "TFY_", "XDG_", "HOME", "PYTHON")
"""Beginnings of the names of variables on which the lists, or a refused start, can depend."""
SECRETS: Final = ("TFY_API_KEY", "GATEWAY_METRICS_CLICKHOUSE_PASSWORD")
_METHODS: Final = frozenset(
    b"initialize server/discover tools/list prompts/list resources/list"
    b" resources/templates/list".split()
)
_CHUNK: Final = 65_536
_MOST_LINES: Final = 64
"""How many lines of a session are watched: clients ask for the lists at its beginning."""
_MOST_ANSWERS: Final = 60
"""Of one start, from all clients; the oldest make room for a client that never asks the same."""
_MOST_STARTS: Final = 30
"""How many starts with other arguments, files or versions are kept."""
_MARK: Final = b"\0"
"""Stands for the id in a kept line; JSON text never contains it."""
_HEAD: Final = b'{"jsonrpc":"2.0","id":'
_UNKNOWN: Final = "-"
_MOST_ID: Final = 64
_MOST_LINE: Final = 1_000_000
"""Bytes of an unfinished line that are watched: the requests answered here are short."""
_MOST_UNSENT: Final = 1_000_000
"""Bytes of answers that may wait for a client that does not read; the SDK gives the others."""


class Front:
    """The two streams of a stdio session: watched, and answered from `answers` where possible."""

    def __init__(self, path: str, files: dict[str, str], answers: dict[bytes, bytes]) -> None:
        self._path = path
        self._files = files
        self._answers = answers
        self._state = b""
        self._lines = 0
        self._partial = b""
        self._pending = bytearray()
        self._is_ended = False
        self._due: dict[bytes, tuple[bytes, bytes | None]] = {}
        self._told = bytearray()
        self._is_early = False
        self._has_stopped = threading.Event()
        self._unsent = b""
        self._in, self._out = 0, 1
        self._thread: threading.Thread | None = None
        self._wake = (-1, -1)
        self._old = sys.stdin, sys.stdout

    @classmethod
    def open(cls, argv: Sequence[str], environ: Mapping[str, str]) -> Front | None:
        """Begin to answer if a start like this one has succeeded before.

        Returns:
            None on Windows, where pipes cannot be polled, and if stdin is closed: its descriptor
            would be that of the next file to be opened.
        """
        if os.name != "posix" or sys.stdin is None:
            return None
        folder = _folder(environ)
        path = os.path.join(folder, f"{_key_of(argv, environ)}.lines")
        if not os.path.isabs(folder):  # no home: the working directory is no place for it
            path = ""
        front = cls(path, *_load(path))
        if front._answers and front._can_poll():
            front._wake = os.pipe()
            front._out = os.dup(1)
            front._is_early = True
            front._thread = threading.Thread(target=front._answer_first, daemon=True)
            front._thread.start()
        return front

    @property
    def is_answering(self) -> bool:
        """Whether it has begun to read stdin: then only it can hand the lines to the SDK."""
        return self._thread is not None

    def keep_for(self, files: Iterable[str], secrets: Iterable[str]) -> None:
        """Keep this start's answers for as long as these files stay as they are.

        Of secrets no digest is stored, only size and time.
        """
        files = {f"f{path}": _identify(path) for path in files}
        files |= {f"s{path}": _date(path) for path in secrets}
        if _UNKNOWN in files.values() or any("\n" in path for path in files):
            self._path = ""
        elif files != self._files:
            self._files, self._answers = files, {}

    def _can_poll(self) -> bool:
        try:
            select.select([0], [], [], 0)
            os.fstat(1)
        except (OSError, ValueError):  # closed
            return False
        return True

    # Requests.

    def _answer_first(self) -> None:
        """The thread that reads while the SDK is imported."""
        sources = [0, self._wake[0]]
        try:
            while sources or self._told:
                outputs = [self._out] if self._told else []
                ready, writable, _ = select.select(sources, outputs, [])
                if self._wake[0] not in ready and 0 in ready:
                    self._receive()
                if self._wake[0] in ready or self._is_ended:
                    sources = []
                    self._stop_early()
                if writable:  # no more than fits: a client may write all before it reads
                    del self._told[: os.write(self._out, self._told[: select.PIPE_BUF])]
        except OSError:  # the client has gone, which the SDK will see too
            return
        finally:
            self._stop_early()

    def _stop_early(self) -> None:
        self._is_early = False
        self._has_stopped.set()

    def _receive(self) -> None:
        """Read what has come: for the SDK, and to answer its lines."""
        select.select([self._in], [], [])  # some clients pass a non-blocking stdin
        chunk = os.read(self._in, _CHUNK)
        self._is_ended = not chunk
        self._pending += chunk
        if self._lines < _MOST_LINES:
            *lines, self._partial = (self._partial + chunk).split(b"\n")
            for line in lines:
                self._watch(line)
            if len(self._partial) > _MOST_LINE:
                self._partial, self._lines = b"", _MOST_LINES

    def _watch(self, line: bytes) -> None:
        """Answer a request whose answer is kept; note others, to keep theirs.

        The answer depends on the lines before: the first chooses the protocol's era, `initialize`
        its version. Lists change nothing.
        """
        self._lines += 1
        method, before, id_, after = _split(line)
        shape = before + _MARK + after
        key = hashlib.sha256(self._state + shape).hexdigest().encode()
        if not self._state or not method.endswith(b"/list"):
            self._state = key
        if not method or id_ in self._due:  # of two open requests with one id the SDK answers both
            return
        has_room = self._is_early and len(self._told) < _MOST_UNSENT
        told = self._answers.get(key) if has_room else None
        if told is not None:
            told = told.replace(_MARK, id_)
            self._told += told + b"\n"
        self._due[id_] = key, told

    def read(self, most: int) -> bytes:
        """Up to `most` bytes of the client's, for the SDK; none at the end."""
        if not self._pending and not self._is_ended:
            self._receive()
        data = bytes(self._pending[:most])
        del self._pending[:most]
        return data

    # Answers.

    def write(self, data: bytes) -> None:
        """Send what the SDK writes, without the answers that were already given."""
        self._finish_early()
        *lines, self._unsent = (self._unsent + data).split(b"\n")
        for line in lines:
            id_, _, rest = line.removeprefix(_HEAD).partition(b",")
            is_answer = line.startswith(_HEAD) and rest.startswith((b'"result":', b'"error":'))
            key, told = self._due.pop(id_, (b"", None)) if is_answer else (b"", None)
            if told is None:
                self._send(line + b"\n")
                answer = _HEAD + _MARK + b"," + rest
                if key and rest.startswith(b'"result":') and self._answers.get(key) != answer:
                    self._answers[key] = answer
                    self._save()
            elif told != line:
                self._forget()

    def _finish_early(self) -> None:
        """Wait until all early answers are sent: from then on only the SDK writes."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _send(self, data: bytes) -> None:
        while data:
            select.select([], [self._out], [])
            data = data[os.write(self._out, data) :]

    def _save(self) -> None:
        if not self._path:
            return
        for key in list(self._answers)[:-_MOST_ANSWERS]:
            del self._answers[key]
        files = [os.fsencode(f"{identity} {path}") for path, identity in self._files.items()]
        answers = [key + b" " + line for key, line in self._answers.items()]
        body = b"\n".join([b"files", *files, b"answers", *answers])
        folder, own = os.path.dirname(self._path), f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(own, self._path)
            kept = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime)
            for entry in kept[:-_MOST_STARTS]:
                os.unlink(entry.path)
        except OSError as error:  # no place to keep it: the next start is as this one
            self._path = ""
            _tell_full(error, folder, own)

    def _forget(self) -> None:
        """Delete what is kept: the SDK answers otherwise than at the start that was kept."""
        self._answers, path, self._path = {}, self._path, ""
        if path:
            try:  # noqa: SIM105 - contextlib is not imported yet
                os.unlink(path)
            except OSError:  # another server has deleted it, or nobody may
                pass

    # The streams, for as long as the SDK serves them.

    def __enter__(self) -> Self:
        """Hand the streams to the SDK, as `sys.stdin.buffer` and `sys.stdout.buffer`.

        The descriptors 0 and 1 lead elsewhere meanwhile, so that stray output of libraries and
        child processes cannot reach the client; the SDK does the same with streams of its own.
        """
        if self._thread is not None:
            os.write(self._wake[1], b"\n")
            self._has_stopped.wait()
        else:
            self._out = os.dup(1)
        self._in = os.dup(0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # stderr is closed
            os.dup2(nowhere, 1)
        os.close(nowhere)
        self._old = sys.stdin, sys.stdout
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Input(self)))
        sys.stdout = _StrayOutput(io.FileIO(1, "w", closefd=False), _Output(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Restore the streams."""
        self._finish_early()
        sys.stdout.flush()  # what a library printed without a line end: not to the client
        sys.stdin, sys.stdout = self._old
        os.dup2(self._in, 0)
        os.dup2(self._out, 1)


def _tell_full(error: OSError, folder: str, own: str) -> None:
    """Leave no half of a file behind, and say so where the disk is full."""
    import logging  # by now the SDK is imported, and these with it
    from contextlib import suppress

    from gateway_metrics_mcp.runtime.scratch import is_full

    with suppress(OSError):
        os.unlink(own)
    if is_full(error):
        logging.getLogger(__name__).warning(
            "the disk of %s is full: the next start will be slower", folder
        )


class _Input(io.RawIOBase):
    """What the client sends, as the SDK reads it."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._front.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Output(io.RawIOBase):
    """What the SDK writes."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._front.write(bytes(data))
        return len(data)


class _StrayOutput(io.TextIOWrapper):
    """`sys.stdout` while serving: prints go to stderr, and only `buffer` to the client."""

    def __init__(self, stray: io.FileIO, wire: io.RawIOBase) -> None:
        super().__init__(stray, encoding="utf-8", line_buffering=True)
        self._wire = wire

    @property
    def buffer(self) -> io.RawIOBase:  # type: ignore[override]
        return self._wire


def _split(line: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The method of a request that may be answered here, and the line around its id.

    The method is empty, and all of the line is `before`, unless the line has one id and one such
    method, spelled plainly. It need not be valid JSON: the answer is the SDK's to the same bytes.
    """
    nothing = b"", line, b"", b""
    if b"\\" in line or line.count(b'"id"') != 1 or line.count(b'"method"') != 1:
        return nothing
    start, id_ = _value_after(line, b'"id"')
    method = _value_after(line, b'"method"')[1].strip(b'"')
    if method not in _METHODS or not _is_plain(id_):
        return nothing
    return method, line[:start], id_, line[start + len(id_) :]


def _is_plain(id_: bytes) -> bool:
    """Whether the SDK repeats an id in the same bytes: a natural number or a simple string."""
    if id_.isdigit():
        return len(id_) <= _MOST_ID and (id_ == b"0" or not id_.startswith(b"0"))
    inner = id_[1:-1]
    is_quoted = id_ == b'"' + inner + b'"' and len(id_) <= _MOST_ID
    return is_quoted and inner.translate(None, b"-_.:").isalnum()


def _value_after(line: bytes, name: bytes) -> tuple[int, bytes]:
    """Where the value of a member begins, and the value, if it is a number or plain string."""
    start = line.index(name) + len(name)
    start += len(line[start:]) - len(line[start:].lstrip(b": \t"))
    end = min((at for mark in b",}" if (at := line.find(mark, start)) >= 0), default=len(line))
    return start, line[start:end].rstrip()


# What the answers depend on.


def _folder(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME") or os.path.expanduser("~")
    mac = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return os.path.join(
        environ.get("XDG_CACHE_HOME") or os.path.join(home, mac), "gateway-metrics-mcp", "front"
    )


def _key_of(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """A digest of versions, arguments and environment; of secrets only whether they are set."""
    digest = hashlib.sha256()
    variables = {name: environ[name] for name in environ if name.startswith(VARIABLES)}
    for name in SECRETS:
        text = variables.get(name, "").strip()
        variables[name] = "unfilled" if text.startswith("${") else f"{bool(text)}"
    for part in (sys.version, sys.flags, sys.executable, _working(), sys.path, [*argv]):
        digest.update(f"{part!r}\n".encode())
    digest.update(repr(sorted(variables.items())).encode())
    for folder in sys.path:  # the versions of all packages
        try:
            names = sorted(n for n in os.listdir(folder) if n.endswith(".dist-info"))
        except OSError:
            continue
        digest.update(repr(names).encode())
    for folder in (_PACKAGE, _PROMPTS):
        digest.update(repr(sorted(_dates(folder))).encode())
    return digest.hexdigest()


def _working() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _dates(folder: str) -> Iterator[str]:
    """Path, size and time of each file: an editable install changes within a version."""
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            full = os.path.join(path, name)
            yield full + _date(full)


def _date(path: str) -> str:
    """A file's size and time; `-` if it cannot be read, or is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return _UNKNOWN
    is_good = stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK)
    return f"{found.st_size}:{found.st_mtime_ns}" if is_good else _UNKNOWN


def _identify(path: str) -> str:
    """A digest of a file, or of the Markdown in a folder; `-` if it cannot be read.

    A pipe is never read: its text is there only once.
    """
    try:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith(".md"))
            inner = "".join(name + _identify(os.path.join(path, name)) for name in names)
            return hashlib.sha256(os.fsencode(inner)).hexdigest()
        if not stat.S_ISREG(os.stat(path).st_mode):
            return _UNKNOWN
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return _UNKNOWN


def _load(path: str) -> tuple[dict[str, str], dict[bytes, bytes]]:
    """The kept files and answers; none if a file has changed since, or the text is damaged."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():  # in a directory of several users
                return {}, {}
            digest, _, body = file.read().partition(b"\n")
    except OSError:
        return {}, {}
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return {}, {}
    head, _, rest = body.removeprefix(b"files").partition(b"\nanswers\n")
    files = {}
    for line in os.fsdecode(head).split("\n")[1:]:
        identity, _, path = line.partition(" ")
        files[path] = identity
        if (_identify if path[0] == "f" else _date)(path[1:]) != identity:
            return {}, {}
    return files, dict(line.split(b" ", 1) for line in rest.split(b"\n"))
