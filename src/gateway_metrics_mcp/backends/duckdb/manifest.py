"""The manifest of a table: which days of which runs of `import` count.

A run whose name has twelve digits counts only by its manifest, so that one rename of the manifest
puts a new run in the place of older ones. Runs of earlier builds, with eight digits, count unless
the manifest says that they were replaced; files of other writers always count.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import EngineError

logger = logging.getLogger(__name__)

MANIFEST: Final = "_manifest.json"
WORKING: Final = ".importing"
"""The folder in the data directory of an import at work."""

IMPORT_RUN: Final = re.compile(
    r"import-\d{8}T\d{6}Z-[0-9a-f]{8}(?:[0-9a-f]{4})?(-\d{4}-\d\d-\d\d-to-\d{4}-\d\d-\d\d)?"
)
"""The folder of a run of `import`, with its first and last day; older runs lack the days."""

_NAME_LENGTH: Final = len("import-20260715T093000Z-3f9a1c07aabb")
_AFTER_EIGHT_DIGITS: Final = len("import-20260715T093000Z-3f9a1c07")
_FORMAT: Final = 1
_CHECKSUM: Final = ', "sha256": "'
_MOST_KNOWN: Final = 100
_WAY_OUT: Final = (
    "Restore it from a backup, or rebuild it from the runs' records: `gateway-metrics-mcp compact"
    " DIR`"
)

OUT_OF_UNLISTED: Final = "`gateway-metrics-mcp import` its rows.parquet, or remove it"
"""What to do with a run that the manifest does not list."""

Identity = tuple[int, ...]


class DamagedManifestError(EngineError):
    """A manifest is not as it was written."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which days of runs count, and which were replaced."""

    counted: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The runs that count by the manifest, and the days of each that do."""
    replaced: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    """The days of runs whose rows are in other runs now; None for a run as a whole."""
    identity: Identity | None = None
    """Of the manifest's file; None if there is none."""
    _runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The runs of each day that counts, in order of days."""
    _days: Sequence[str] = ()

    def knows(self, run: str) -> bool:
        """Whether a run's folder is one that the manifest speaks of, or needs none."""
        return not needs_manifest(run) or run in self.counted or run in self.replaced

    def counts(self, run: str, day: str) -> bool:
        """Whether a day of a run, which has a folder, counts."""
        if needs_manifest(run):
            return day in self.counted.get(run, ())
        replaced = self.replaced.get(run, ())
        return replaced is not None and day not in replaced

    def within(self, first: str, last: str) -> Iterator[tuple[str, str]]:
        """The days that count from the first to the last, each as its run and the day."""
        for day in self._days[bisect_left(self._days, first) : bisect_right(self._days, last)]:
            for run in self._runs[day]:
                yield run, day


def needs_manifest(run: str) -> bool:
    """Whether a run, by its name, counts by the manifest alone."""
    return run[_AFTER_EIGHT_DIGITS : _AFTER_EIGHT_DIGITS + 1] not in ("", "-")


def names_run(name: str) -> bool:
    """Whether a folder's name is a run's; or begins with that of one that counts by the manifest.

    Such as `import-… (1)` is a copy of a run, which the manifest does not list.
    """
    found = IMPORT_RUN.match(name)
    return found is not None and (found[0] == name or needs_manifest(name))


_known: Final[dict[str, Manifest]] = {}


def read_manifest(table: Path) -> Manifest:
    """The manifest of a table's folder, parsed once while the file stays as it is.

    Raises:
        DamagedManifestError: if it is damaged.
        EngineError: if it cannot be read.
    """
    path = os.path.join(table, MANIFEST)  # noqa: PTH118 - for each question
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            identity = _identify(os.fstat(file.fileno()))
            known = _known.get(path)
            if known is not None and known.identity == identity:
                return known
            text = file.read()
    except OSError as error:
        if isinstance(error, FileNotFoundError) or not table.is_dir():
            return Manifest()
        logger.warning("%s cannot be read: %s", path, error)
        raise EngineError(
            f"the manifest of {table.name}, which says which runs of import count, cannot be read:"
            f" {error.strerror}"
        ) from None
    manifest = _parse(text, identity, table.name)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[path] = manifest
    return manifest


def is_at_work(table: Path, run: str) -> bool:
    """Whether a run's import has not made it count yet, or died before: the next clears it."""
    return (table.parent / WORKING / run[:_NAME_LENGTH]).exists()


def explain_missing(table: str) -> str:
    """What to say where runs need a manifest that is not there."""
    return (
        f"the manifest of {table} ({MANIFEST}), which says which runs of import count, is missing."
        f" {_WAY_OUT}"
    )


def format_manifest(manifest: Manifest) -> str:
    """The text of a manifest's file."""
    facts = {
        "format": _FORMAT,
        "runs": {run: sorted(days) for run, days in manifest.counted.items()},
        "replaced": {
            run: None if days is None else sorted(days) for run, days in manifest.replaced.items()
        },
    }
    text = json.dumps(facts, separators=(",", ":")).removesuffix("}")
    return f'{text}{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}"}}\n'


def _identify(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _parse(text: bytes, identity: Identity, table: str) -> Manifest:
    body, _, checksum = text.rpartition(_CHECKSUM.encode())
    try:
        if checksum.decode().rstrip() != f'{hashlib.sha256(body).hexdigest()}"}}':
            raise ValueError(MANIFEST)
        facts = json.loads(body + b"}")
    except ValueError:
        raise DamagedManifestError(
            f"the manifest of {table} ({MANIFEST}), which says which runs of import count, is"
            f" damaged. {_WAY_OUT}"
        ) from None
    if facts["format"] != _FORMAT:
        raise EngineError(
            f"the manifest of {table} ({MANIFEST}) was written by a later version: upgrade this one"
        )
    runs = defaultdict[str, list[str]](list)
    for run, days in facts["runs"].items():
        for day in days:
            runs[day].append(run)
    return Manifest(facts["runs"], facts["replaced"], identity, runs, sorted(runs))
