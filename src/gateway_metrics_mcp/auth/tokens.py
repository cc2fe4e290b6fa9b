"""The tokens file and its tokens, token headers, and the reader of operators' TOML files.

The file holds only digests, so a reader of the file gets no token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

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

from gateway_metrics_mcp.errors import ExpiredTokenError, RefusedCallerError, SettingsError
from gateway_metrics_mcp.query import Caller
from gateway_metrics_mcp.query.model import SubjectType

Headers = Sequence[tuple[bytes, bytes]]

TOKEN_HEADER: Final = "X-TFY-API-Key"  # noqa: S105 - the header's name
BEARER_HEADER: Final = "Authorization"
_VISIBLE: Final = re.compile(r"[!-~]*")
_LONGEST_TOKEN: Final = 16_384


def find_fault(token: str) -> str | None:
    """What is malformed, as the words after "the token"; None for a well-formed token."""
    if len(token) > _LONGEST_TOKEN:
        return f"is longer than any token ({_LONGEST_TOKEN} characters)"
    return None if _VISIBLE.fullmatch(token) else "contains a character not allowed in tokens"


def refuse_illegal(token: str, header: str, *, error: str | None = None) -> None:
    """Check that a token is well formed.

    Raises:
        RefusedCallerError: if it is not; the message does not repeat the token.
    """
    if (fault := find_fault(token)) is None:
        return
    alone = "send the token alone"
    if len(token) <= _LONGEST_TOKEN:
        alone += ", without `Bearer` or quotes"
    raise RefusedCallerError(f"the token in {header} {fault}: {alone}", error=error)


def read_header(headers: Headers, name: str) -> str | None:
    """The value of a header; None if it is missing or empty.

    Raises:
        RefusedCallerError: if it is sent twice, since proxies disagree on which one counts.
    """
    wanted = name.lower().encode()
    values = [value for key, value in headers if key.lower() == wanted]
    if len(values) > 1:
        raise RefusedCallerError(
            f"the header {name} appears twice", status=400, error="invalid_request"
        )
    return values[0].decode("latin-1").strip() or None if values else None


def read_bearer(header: str | None) -> str | None:
    """The bearer token of an Authorization header, or None."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


logger = logging.getLogger(__name__)

PREFIX: Final = "gmm_"
"""Lets secret scanners recognise these tokens."""

_LIFETIME: Final = re.compile(r"([1-9][0-9]{0,4})\s*(d|days?|h|hours?)")

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Content = TypeVar("Content")
Model = TypeVar("Model", bound=BaseModel)


class OperatorFile(Generic[Content]):
    """The current content of a TOML file that lists callers; reloaded on SIGHUP."""

    def __init__(self, path: Path, read: Callable[[Path], Content], what: str) -> None:
        self.path = path
        self._read = read
        self._what = what
        self.current = read(path)

    def reload(self) -> None:
        """Read the file again; if it is invalid, log why and keep the old content.

        A typing error in the file must not lock every caller out.
        """
        try:
            if self.path.is_fifo():  # to open it would wait for its other end, and all callers too
                raise SettingsError(f"{self.path} is a pipe, which is read at the start alone")
            self.current = self._read(self.path)
        except SettingsError as error:
            logger.error("the %s stay unchanged: %s", self._what, error)  # noqa: TRY400 - not our bug
        else:
            logger.warning("reloaded %s", self.path)


def read_operator_file(
    path: Path, model: type[Model], *, what: str, shape: str, unknown: str
) -> Model:
    """The content of a TOML file whose entries are in a list or table named `<what>s`.

    Raises:
        SettingsError: if it is invalid. Values and unknown keys are not repeated: one may be a
            token that was pasted in the wrong place.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        # Only the position of tomllib's message: the rest may repeat a key, or a token.
        place = str(error).rpartition(" (")[2].rstrip(")")
        reason = getattr(error, "strerror", None) or f"not TOML, {place}"
        raise SettingsError(f"the {what}s file {path} cannot be read: {reason}") from None
    try:
        return model.model_validate(raw, context=path.parent)
    except ValidationError as error:
        wrong = error.errors()
    first = min(len(e["loc"]) for e in wrong)
    if first < 2:
        raise SettingsError(f"the {what}s file {path} has {shape}")
    entry = wrong[0]["loc"][1]
    number = entry if isinstance(entry, int) else list(raw[f"{what}s"]).index(entry)
    said = explain_entry([e for e in wrong if e["loc"][1] == entry], unknown, depth=2)
    raise SettingsError(f"the {what}s file {path}, {what} {number + 1}: {said}")


def explain_entry(errors: Sequence[Any], unknown: str, *, depth: int = 0) -> str:
    """An entry's errors as text; the first `depth` parts of a location name the entry itself."""
    said = []
    for error in errors:
        place = ".".join(map(str, error["loc"][depth:]))
        words = error["msg"].removeprefix("Value error, ")
        said.append(
            unknown
            if error["type"] == "extra_forbidden"
            else f"{place}: {words}".removeprefix(": ")
        )
    return "; ".join(said)


class Rights(BaseModel):
    """The subject and rights of an entry (R23)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Name
    type: SubjectType = "user"
    teams: tuple[Name, ...] = ()
    tenant_admin: StrictBool = False

    @property
    def caller(self) -> Caller:
        """The caller with these rights."""
        return Caller(self.subject, self.type, frozenset(self.teams), self.tenant_admin)


class TokenEntry(Rights):
    """One token of the file; `sha256` is the hex digest of the token itself."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: Annotated[AwareDatetime, Strict()] | None = None

    def to_toml(self) -> str:
        """The entry in TOML, as the file has it."""
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


UNKNOWN_KEY: Final = f"unknown key; known: {', '.join(TokenEntry.model_fields)}"


class Tokens(BaseModel):
    """The content of a tokens file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[TokenEntry, ...] = ()

    def find_caller(self, authorization: str | None, now: datetime) -> Caller:
        """The caller that an `Authorization` header identifies.

        Raises:
            RefusedCallerError: if there is no bearer token, or an unknown one.
            ExpiredTokenError: if it has expired.
        """
        # RFC 6750: no error code if the request has no credentials at all.
        mark = "invalid_token" if authorization else None
        token = read_bearer(authorization)
        if token is None:
            message = "send a token: the header Authorization: Bearer <token>"
            raise RefusedCallerError(message, error=mark)
        given = digest(token)
        # All entries, in constant time: the response time reveals nothing about the digests.
        found = [e for e in self.tokens if hmac.compare_digest(e.sha256, given)]
        if not found:
            raise RefusedCallerError("the token is unknown", error=mark)
        (entry, *_) = found
        if entry.expires is not None and entry.expires <= now:
            raise ExpiredTokenError("the token has expired: ask for a new one", error=mark)
        return entry.caller


def digest(token: str) -> str:
    """The hex SHA-256 digest under which the file lists a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> Tokens:
    """The tokens listed in a file.

    Raises:
        SettingsError: if the file is invalid; the message contains no digest.
    """
    shape = "[[tokens]] entries and nothing else"
    read = read_operator_file(path, Tokens, what="token", shape=shape, unknown=UNKNOWN_KEY)
    if len({entry.sha256 for entry in read.tokens}) < len(read.tokens):
        raise SettingsError(f"the tokens file {path} lists one sha256 twice")
    return read


def make_token(
    subject: str,
    subject_type: SubjectType,
    teams: Sequence[str],
    *,
    is_tenant_admin: bool,
    expires: datetime | None,
) -> tuple[str, TokenEntry]:
    """A new token and its entry for the file; the token is shown once and stored nowhere."""
    token = PREFIX + secrets.token_urlsafe(32)
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
    """A duration such as `90d` or `12 hours`.

    Raises:
        ValueError: if it is not one.
    """
    match = _LIFETIME.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a lifetime: give days or hours, such as 90d or 12h")
    return timedelta(days=int(match[1])) if match[2][0] == "d" else timedelta(hours=int(match[1]))


def _quote(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
