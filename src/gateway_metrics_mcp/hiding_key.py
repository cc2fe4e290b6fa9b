"""The key of the hashes that stand for addresses: the operator's, or one made once and kept."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

_LEAST: Final = 16
_NAME: Final = "hidden-emails.key"
_MAKE: Final = "Make one: openssl rand -hex 32 > FILE"


def read_hiding_key(settings: Settings, *, state: Path | None = None) -> bytes | None:
    """The key; None if addresses are not hidden.

    Without a file of the operator's it is made in the user's state directory, for the user alone.

    Raises:
        SettingsError: if the file cannot be read or made, or is too short to be a key.
    """
    if not settings.hide_emails:
        if settings.hide_emails_key is not None:
            raise SettingsError("hide_emails_key hides nothing alone: --hide-emails true as well")
        return None
    path = settings.hide_emails_key
    try:
        if path is None:
            path = _make_key(state or Path(platformdirs.user_state_dir("gateway-metrics-mcp")))
        key = path.read_bytes().strip()
    except OSError as error:
        reason = error.strerror or "not possible"
        where = f"the key file of hidden addresses {path or _NAME}"
        raise SettingsError(f"{where} cannot be read or made: {reason}. {_MAKE}") from None
    if len(key) < _LEAST:
        raise SettingsError(f"the key file {path} has fewer than {_LEAST} bytes. {_MAKE}")
    return key


def _make_key(directory: Path) -> Path:
    """The kept key; of processes that start together the first one makes it."""
    kept = directory / _NAME
    if kept.exists():
        return kept
    directory.mkdir(parents=True, exist_ok=True)
    made = directory / f"{_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_hex(32)}\n")
    with suppress(FileExistsError):
        os.link(made, kept)  # whole or not at all
    made.unlink()
    return kept
