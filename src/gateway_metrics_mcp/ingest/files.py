"""The files of a command line -> what they are: format, content hash, CSV header."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import io
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from gateway_metrics_mcp.errors import SettingsError

Format = Literal["csv", "jsonl", "parquet"]

_FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_DELIMITERS: Final = ",\t;|"
_LONGEST_HEADER: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to import."""

    path: Path
    format: Format
    sha256: str
    """Of its bytes: two files of equal content are one."""
    stamp: tuple[int, int]
    """Size and time of change when it was hashed."""
    delimiter: str = ","
    header: tuple[str, ...] = ()
    """The columns of a CSV file; other formats tell theirs to the engine."""

    def check_unchanged(self) -> None:
        """Refuse a file that was written to meanwhile: its hash would not be its rows'.

        Raises:
            SettingsError: if it was.
        """
        try:
            is_unchanged = _stamp_of(self.path) == self.stamp
        except OSError:
            is_unchanged = False
        if not is_unchanged:
            raise SettingsError(f"{self.path} changed while it was read; nothing was imported")


def find_sources(patterns: Iterable[str], format_: Format | None) -> list[SourceFile]:
    """The files, each once, in the order given; a pattern's in the order of their names.

    Raises:
        SettingsError: if one is missing, cannot be read, or its format is not known.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        found = [path] if path.exists() else [Path(p) for p in _match(path)]
        if not found:
            raise SettingsError(f"there is no file {pattern}")
        paths.update(dict.fromkeys(found))
    return [_read_source(path, format_) for path in paths]


def _match(pattern: Path) -> list[str]:
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in matches if Path(match).is_file())


def _read_source(path: Path, format_: Format | None) -> SourceFile:
    try:
        if not path.is_file():
            raise SettingsError(f"{path} is no file; name files, or a pattern such as '{path}/*'")
        format_ = format_ or _format_of(path)
        stamp = _stamp_of(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if format_ != "csv":
            return SourceFile(path, format_, digest, stamp)
        delimiter, header = _read_header(path)
        return SourceFile(path, format_, digest, stamp, delimiter, header)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from None


def _stamp_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _format_of(path: Path) -> Format:
    name = path.name.lower().removesuffix(".gz")
    for ending, format_ in _FORMATS.items():
        if name.endswith(ending):
            return format_
    raise SettingsError(f"{path}: its name does not tell the format. Give --format")


def _read_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter, the most frequent of four in the first line, and the columns."""
    with closing(_open_text(path)) as stream:
        try:
            start = stream.read(_LONGEST_HEADER)
        except UnicodeDecodeError:
            raise SettingsError(f"{path} is not UTF-8 text") from None
    first = start.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    header = tuple(next(csv.reader(io.StringIO(start), delimiter=delimiter), ()))
    if not any(header):
        raise SettingsError(f"{path} has no header: its first line has to name the columns")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f'{path} has two columns "{twice}"')
    return delimiter, header


def _open_text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
