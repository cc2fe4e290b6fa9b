"""OAuth resource server: verifies tokens of the organisation's identity provider (RFC 9728).

The subjects file maps each subject to rights. This module issues no tokens: the provider does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import jwt
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from starlette.routing import Route

from gateway_metrics_mcp.auth.jwks import ALGORITHMS, Keys, is_safe
from gateway_metrics_mcp.auth.policies import AuthPolicy, name_owner
from gateway_metrics_mcp.auth.tokens import (
    BEARER_HEADER,
    Headers,
    Name,
    OperatorFile,
    Rights,
    find_fault,
    read_bearer,
    read_header,
    read_operator_file,
    refuse_illegal,
)
from gateway_metrics_mcp.errors import RefusedCallerError, SettingsError
from gateway_metrics_mcp.query import Caller
from gateway_metrics_mcp.settings import Settings

_FILE: Final = {
    "what": "subject",
    "shape": '[subjects."<subject>"] tables, nothing else',
    "unknown": "an unknown key, or one for another kind of backend",
}
_URL: Final = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))
"""Keeps an empty path: issuers are compared as text (RFC 8414), so no slash may be added."""


class _GatewaySubject(BaseModel):
    """A subject of a remote gateway: its gateway token is in a file or a variable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_file: Path | None = None
    token_env: Name | None = None
    _token: str = PrivateAttr()

    @model_validator(mode="after")
    def _read_token(self, info: ValidationInfo) -> Self:
        if (self.token_file is None) == (self.token_env is None):
            raise ValueError("give either token_file or token_env")
        if self.token_file is not None:
            folder: Any = info.context  # a relative token_file is beside the subjects file
            try:
                token = Path(folder, self.token_file.expanduser()).read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                raise ValueError("its token_file cannot be read") from None
        else:
            token = os.environ.get(self.token_env or "", "")
        self._token = token.strip()
        if not self._token:
            raise ValueError("there is no token")
        if fault := find_fault(self._token):
            raise ValueError(f"its token {fault}")
        return self

    def to_caller(self, subject: str) -> Caller:
        """The caller with this gateway token."""
        return Caller(subject, token=self._token)


class _GatewaySubjects(BaseModel, extra="forbid"):
    subjects: dict[str, _GatewaySubject] = {}


class _EngineSubjects(BaseModel, extra="forbid"):
    subjects: dict[str, Rights] = {}


def read_subjects(path: Path, *, is_remote: bool) -> Mapping[str, Caller]:
    """The subjects file as callers by subject: with tokens for a gateway, rights for an engine.

    Raises:
        SettingsError: if the file is invalid; the message contains no token.
    """
    if is_remote:
        tokens = read_operator_file(path, _GatewaySubjects, **_FILE).subjects
        return {subject: entry.to_caller(subject) for subject, entry in tokens.items()}
    rights = read_operator_file(path, _EngineSubjects, **_FILE).subjects
    return {subject: entry.caller for subject, entry in rights.items()}


class OAuthPolicy(AuthPolicy):
    """Callers send a token of the identity provider; the subjects file gives its subject rights."""

    def __init__(self, settings: Settings, *, keys: Keys | None = None) -> None:
        issuer = _check_address(settings.oauth_issuer or "", "--oauth-issuer")
        audience = _check_address(settings.oauth_audience or "", "--oauth-audience")
        if settings.oauth_subjects is None:
            raise SettingsError("OAuth needs --oauth-subjects as well")
        read = partial(read_subjects, is_remote=settings.is_remote)
        self.file: OperatorFile[Mapping[str, Caller]] = OperatorFile(
            settings.oauth_subjects, read, "subjects"
        )
        self._issuer = settings.oauth_issuer or ""
        self._audience = settings.oauth_audience or ""
        self._keys = keys or Keys(self._issuer)
        self._scopes = settings.oauth_scope
        self._routes = create_protected_resource_routes(audience, [issuer], [*self._scopes] or None)
        self.challenge = f"{self.challenge}, " + ", ".join(
            f'{name}="{value}"'
            for name, value in (
                ("resource_metadata", build_resource_metadata_url(audience)),
                ("scope", " ".join(self._scopes)),
            )
            if value
        )

    def routes(self) -> list[Route]:
        """The metadata by which clients find the identity provider (RFC 9728)."""
        return self._routes

    async def identify(self, headers: Headers) -> Caller:
        """The caller that the subjects file gives for the token's subject.

        Raises:
            RefusedCallerError: 401 for a missing or invalid token, 403 for a missing scope or an
                unlisted subject.
            UnavailableError: if the issuer's keys are not available.
        """
        token = read_bearer(read_header(headers, BEARER_HEADER))
        if token is None:
            raise RefusedCallerError(
                "send a token of the identity provider: the header Authorization: Bearer <token>"
            )
        refuse_illegal(token, BEARER_HEADER, error="invalid_token")
        claims = await self._verify(token)
        if claims is None:
            raise RefusedCallerError(
                "the token is not valid here: it must be from the right issuer, for this server,"
                " not expired, and correctly signed",
                error="invalid_token",
            )
        scopes = _read_scopes(claims)
        if lacking := [scope for scope in self._scopes if scope not in scopes]:
            raise RefusedCallerError(
                f"the token lacks the scope {' '.join(lacking)}",
                status=403,
                error="insufficient_scope",
            )
        subject: str = claims["sub"]
        caller = self.file.current.get(subject)
        if caller is None:
            raise RefusedCallerError(
                "the token is valid, but its subject has no rights here: ask the operator of this"
                " server to add it",
                status=403,
                error="access_denied",
            )
        return name_owner(caller, subject)

    async def _verify(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a JSON Web Token; None if it is invalid or for another server.

        Raises:
            UnavailableError: if the issuer's keys are not available.
        """
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError):  # RecursionError: deeply nested JSON
            return None
        algorithm, key_id = header.get("alg"), header.get("kid")
        # `crit` lists extensions that must be understood (RFC 7515); none is supported here.
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
            return None
        key = await self._keys.find(key_id if isinstance(key_id, str) else None, algorithm)
        if key is None:
            return None
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],  # the key decides, not the token's header
                audience=self._audience,
                issuer=self._issuer,
                leeway=30,  # seconds that the provider's clock and this machine's may differ
                # PyJWT checks `exp` only if it is present: without it a token never expires.
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None


def _check_address(address: str, flag: str) -> AnyHttpUrl:
    """The URL of a setting.

    Raises:
        SettingsError: if it is not https, or http on loopback.
    """
    if not is_safe(address):
        raise SettingsError(f"{flag} must be an https:// address (http:// on loopback only)")
    try:
        return _URL.validate_python(address)
    except ValidationError:
        wrong = "--oauth-issuer and --oauth-audience must be addresses"
    raise SettingsError(wrong)


def _read_scopes(claims: Mapping[str, Any]) -> list[str]:
    """The scopes: claim `scope` (RFC 9068), or `scp`, which some providers send."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
