"""The record that a run of `import` leaves beside its files: what it read, and what it wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

RECORD: Final = "_import.json"
_BLOCK_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a run, by its path inside the run's folder."""

    name: str
    bytes: int
    sha256: str


def hash_file(path: Path, beat: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a file's content, read in blocks; `beat` is called after each.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            beat()
    return digest.hexdigest()


def write_record(run: Path, facts: dict[str, Any]) -> None:
    """Write the record of a finished run: the facts, and a checksum of each Parquet file."""
    files = [
        {
            "name": path.relative_to(run).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }
        for path in sorted(run.rglob("*.parquet"))
    ]
    record = {**facts, "files": files}
    # Of the record itself: with a wrong hash of a source, that would be imported twice.
    text = json.dumps({**record, "sha256": _hash_facts(record)}, indent=1)
    (run / RECORD).write_text(f"{text}\n", "utf-8")


def _hash_facts(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of a run, as it was read."""

    sources: dict[str, str]
    """The imported files: their content hash, and their name."""
    files: dict[str, WrittenFile] | None
    """The written files by name; None in a record of an earlier version, without checksums."""


def read_record(run: Path) -> RunRecord:
    """Read the record of a run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    try:
        record = json.loads((run / RECORD).read_text("utf-8"))
        checksum = record.pop("sha256", None)
        sources = {source["sha256"]: source["name"] for source in record["sources"]}
        if checksum is None and "files" not in record:
            return RunRecord(sources, None)
        files = [WrittenFile(f["name"], f["bytes"], f["sha256"]) for f in record["files"]]
    except (LookupError, TypeError, AttributeError):
        raise ValueError(RECORD) from None
    if checksum != _hash_facts(record):
        raise ValueError(RECORD)
    return RunRecord(sources, {file.name: file for file in files})
