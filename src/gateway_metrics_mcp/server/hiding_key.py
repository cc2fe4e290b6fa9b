"""The key of the e-mail mask (masking.py): reads it, or makes it once."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

_KEY_FILE: Final = "hidden-emails.key"
_MAKE: Final = "Make one: openssl rand -hex 32 > FILE"


def read_hiding_key(settings: Settings, *, state: Path | None = None) -> bytes | None:
    """The masking key; None if addresses are not masked.

    Without `hide_emails_key` it is created once in the user's state directory (`state`), readable
    by the user only.

    Raises:
        SettingsError: if the file cannot be read or created, or has fewer than 16 bytes.
    """
    if not settings.hide_emails:
        if settings.hide_emails_key is not None:
            raise SettingsError("hide_emails_key has no effect without --hide-emails true")
        return None
    path = settings.hide_emails_key
    try:
        if path is None:
            path = _make_key(state or find_made_key().parent)
        key = path.read_bytes().strip()
    except OSError as error:
        reason = error.strerror or "not possible"
        where = f"the key file of hidden addresses {path or _KEY_FILE}"
        raise SettingsError(f"{where} cannot be read or made: {reason}. {_MAKE}") from None
    if len(key) < 16:
        raise SettingsError(f"the key file {path} has fewer than 16 bytes. {_MAKE}")
    return key


def find_made_key() -> Path:
    """Where the key is made that no setting names."""
    import platformdirs  # only for a key that we make

    return Path(platformdirs.user_state_dir("gateway-metrics-mcp")) / _KEY_FILE


def _make_key(directory: Path) -> Path:
    """The path of the key file; created if missing, by the first of concurrent processes."""
    kept = directory / _KEY_FILE
    if kept.exists():
        return kept
    directory.mkdir(parents=True, exist_ok=True)
    made = directory / f"{_KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_hex(32)}\n")
    with suppress(FileExistsError):
        # A link appears whole and never replaces another process's key, as a rename would.
        os.link(made, kept)
    made.unlink()
    return kept
