"""Tokens that we issue, for the API and for MCP: the file that lists them, and who a token is.

The file holds digests alone, so that reading it gives nobody a token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StringConstraints,
    ValidationError,
)

from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError
from gateway_metrics_mcp.query.caller import LOCAL, Caller, SubjectType

logger = logging.getLogger(__name__)

PREFIX: Final = "gmm_"
"""So that scanners for leaked secrets can tell these tokens."""

_BYTES: Final = 32
_LIFETIME: Final = re.compile(r"([1-9][0-9]{0,4})\s*(d|days?|h|hours?)")

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class UnknownTokenError(GatewayMetricsError):
    """The request has no token, or one that nobody was given (401)."""

    code = "unauthorized"


class ExpiredTokenError(GatewayMetricsError):
    """The token was good once (403)."""

    code = "token_expired"


class TokenEntry(BaseModel):
    """One token of the file; `sha256` is the hex digest of the token itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    subject: Name
    type: SubjectType = "user"
    teams: tuple[Name, ...] = ()
    tenant_admin: StrictBool = False
    expires: Annotated[AwareDatetime, Strict()] | None = None

    @property
    def caller(self) -> Caller:
        """Who asks with this token."""
        return Caller(self.subject, self.type, frozenset(self.teams), self.tenant_admin)

    def to_toml(self) -> str:
        """The entry as it stands in the file."""
        lines = [
            "[[tokens]]",
            f'sha256 = "{self.sha256}"',
            f"subject = {_quote(self.subject)}",
            f'type = "{self.type}"',
            f"teams = [{', '.join(map(_quote, self.teams))}]",
            f"tenant_admin = {str(self.tenant_admin).lower()}",
        ]
        if self.expires is not None:
            lines.append(f"expires = {self.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens that are known; None entries mean that everyone is a tenant admin."""

    entries: tuple[TokenEntry, ...] | None

    def caller_of(self, authorization: str | None, now: datetime) -> Caller:
        """Who an `Authorization` header speaks for.

        Every entry is compared, in constant time.

        Raises:
            UnknownTokenError: if there is no bearer token, or an unknown one.
            ExpiredTokenError: if its time is over.
        """
        if self.entries is None:
            return LOCAL
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnknownTokenError("give a token: the header Authorization: Bearer <token>")
        given = digest(token.strip())
        found = [e for e in self.entries if hmac.compare_digest(e.sha256, given)]
        if not found:
            raise UnknownTokenError("the token is unknown")
        (entry, *_) = found
        if entry.expires is not None and entry.expires <= now:
            raise ExpiredTokenError("the token has expired: ask for a new one")
        return entry.caller


OPEN: Final = Tokens(None)
"""No tokens: whoever reaches the server is a tenant admin."""


class TokenFile:
    """The tokens in force; the file is read again when it is asked for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tokens = OPEN if path is None else read_tokens(path)

    def current(self) -> Tokens:
        """The tokens in force."""
        return self._tokens

    def reload(self) -> None:
        """Read the file again; what is wrong with it is logged, and the old tokens stay."""
        if self._path is None:
            return
        try:
            self._tokens = read_tokens(self._path)
        except SettingsError as error:
            logger.error("the tokens stay as they were: %s", error)  # noqa: TRY400 - no fault of ours
        else:
            logger.warning("read %s again", self._path)


def digest(token: str) -> str:
    """The hex digest under which a token is listed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> Tokens:
    """The tokens of the file.

    Raises:
        SettingsError: if it cannot be read, or an entry is wrong; nothing of a digest is shown.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"the tokens file {path} cannot be read: {error}") from None
    listed = raw.get("tokens", [])
    if set(raw) - {"tokens"} or not isinstance(listed, list):
        raise SettingsError(f"the tokens file {path} has [[tokens]] entries and nothing else")
    entries = tuple(_read_entry(path, number, entry) for number, entry in enumerate(listed, 1))
    digests = [entry.sha256 for entry in entries]
    if len(set(digests)) < len(digests):
        raise SettingsError(f"the tokens file {path} lists one sha256 twice")
    return Tokens(entries)


def _read_entry(path: Path, number: int, entry: Any) -> TokenEntry:
    try:
        return TokenEntry.model_validate(entry)
    except ValidationError as error:
        wrong = explain_entry(error)
        raise SettingsError(f"the tokens file {path}, token {number}: {wrong}") from None


def explain_entry(error: ValidationError) -> str:
    """What is wrong with an entry; unknown keys are not shown, a token may stand there."""
    known = f"an unknown key; there are {', '.join(TokenEntry.model_fields)}"
    return "; ".join(
        known if e["type"] == "extra_forbidden" else f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
        for e in error.errors()
    )


def make_token(
    subject: str,
    subject_type: SubjectType,
    teams: Sequence[str],
    *,
    is_tenant_admin: bool,
    expires: datetime | None,
) -> tuple[str, TokenEntry]:
    """A new token and its entry; the token is nowhere else."""
    token = PREFIX + secrets.token_urlsafe(_BYTES)
    entry = TokenEntry(
        sha256=digest(token),
        subject=subject,
        type=subject_type,
        teams=tuple(teams),
        tenant_admin=is_tenant_admin,
        expires=expires,
    )
    return token, entry


def read_lifetime(text: str) -> timedelta:
    """`90d` or `12 hours`.

    Raises:
        ValueError: if it is neither.
    """
    match = _LIFETIME.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no lifetime: give days or hours, such as 90d or 12h")
    return timedelta(days=int(match[1])) if match[2][0] == "d" else timedelta(hours=int(match[1]))


def _quote(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
