"""Reads and replaces a client's configuration file, atomically and with a backup beside it.

It knows nothing of JSON: that is in jsonc.py.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import SettingsError

_BOM: Final = "\ufeff"
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read; `path` is resolved, so that a symlink to it stays a symlink."""

    path: Path
    content: bytes | None

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """Read the file; `content` is None if it does not exist.

        Raises:
            SettingsError: if it exists and cannot be read.
        """
        path = Path(os.path.realpath(path))
        try:
            return cls(path, path.read_bytes())
        except FileNotFoundError:
            return cls(path, None)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from None

    @property
    def text(self) -> str:
        """The text without a byte order mark; an empty object if the file is missing or blank.

        Raises:
            SettingsError: if it is not UTF-8.
        """
        try:
            text = (self.content or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path} is not UTF-8 text: left as it is") from None
        text = text.removeprefix(_BOM)
        return text if text.strip() else "{}\n"

    def replace(self, text: str, *, is_private: bool) -> Path | None:
        """Replace the text, all or nothing; returns the backup's path if one was made.

        `is_private` sets mode 0600; otherwise the file keeps its mode.

        Raises:
            SettingsError: if it cannot be written, or was changed since it was read.
        """
        mark = _BOM if (self.content or b"").startswith(_BOM.encode()) else ""
        try:
            content = (mark + text).encode("utf-8")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_unchanged()
            mode = _PRIVATE if is_private else self._mode()
            backup = self._back_up()
            self._swap(content, mode)
        except UnicodeEncodeError:
            raise SettingsError("a path or a value is not UTF-8 text: nothing is changed") from None
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be written: {error.strerror}") from None
        return backup

    def check_writable(self) -> None:
        """Refuse a read-only file: a rename would replace it even so, against its owner's will.

        Raises:
            SettingsError: if the file is read-only.
        """
        with suppress(OSError):  # writing reports what is wrong with the file
            if not self._mode() & 0o222:  # nobody may write it
                raise SettingsError(f"{self.path} is read-only: it is left as it is")

    def _mode(self) -> int:
        return _PRIVATE if self.content is None else self.path.stat().st_mode & 0o777

    def _back_up(self) -> Path | None:
        """Copy the old content beside the file; an existing equal backup is reused."""
        if self.content is None:
            return None
        mode = self._mode()
        for number in range(1, 1000):
            suffix = ".bak" if number == 1 else f".bak{number}"
            path = self.path.with_name(self.path.name + suffix)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                if path.is_file() and path.read_bytes() == self.content:
                    return path
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.content)
            return path
        raise SettingsError(f"{self.path} has too many backups beside it: delete some")

    def _check_unchanged(self) -> None:
        """Refuse if the file changed since it was read: clients write their files too.

        Raises:
            SettingsError: if it changed.
        """
        if ConfigFile.read(self.path).content != self.content:
            raise SettingsError(f"{self.path} was changed meanwhile: run the command again")

    def _swap(self, content: bytes, mode: int) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            # Checked again right before the rename, to make the time for a lost update small.
            self._check_unchanged()
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
