"""OAuth resource server: verifies tokens of the organisation's identity provider (RFC 9728).

The subjects file maps each subject to rights. This module issues no tokens: the provider does, and
its signing keys (JWKS) are fetched and cached here. PyJWT's PyJWKClient is not used: it reads
responses of any size, refetches on every request while the provider is down, drops expired keys at
once, and ignores keys without an id.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import anyio
import httpx
import jwt
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls as discovery_urls,
)
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
from pydantic_core import from_json
from starlette.routing import Route

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
from gateway_metrics_mcp.errors import RefusedCallerError, SettingsError, UnavailableError
from gateway_metrics_mcp.query import Caller
from gateway_metrics_mcp.runtime.network import is_loopback
from gateway_metrics_mcp.settings import Settings, warn_of_readers

logger = logging.getLogger(__name__)

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
                path = Path(folder, self.token_file.expanduser())
                token = path.read_text("utf-8-sig")
                warn_of_readers([path])
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


# --- the provider's signing keys (JWKS) ---


ALGORITHMS: Final = ("RS256", "ES256")
"""Accepted signatures. Never `none`, and no HMAC: its secret would be the public key."""

_PUBLIC: Final = ("alg", "kty", "n", "e", "crv", "x", "y")
_MOST_BYTES: Final = 256 * 1024
_TIMEOUT_S: Final = 5
_FRESH_S: Final = 600
"""Age at which keys are fetched again: a revoked key stays valid no longer than this."""
_STALE_S: Final = 3600
"""How long cached keys are used while the provider does not respond."""
_REFETCH_S: Final = 10
"""Minimum time between fetches: tokens with made-up key ids must not flood the provider."""


class Keys:
    """The provider's keys by id; concurrent requests share one fetch."""

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._found: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = anyio.Lock()
        self._tls = httpx.create_ssl_context()

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key that a token's header names, or None; an unknown key id causes a fetch.

        Raises:
            UnavailableError: if there are no keys younger than _STALE_S.
        """
        is_known = self._choose(key_id, algorithm) is not None
        # A request whose key is known does not wait for a fetch that another request started.
        if not is_known or (self._age() > _FRESH_S and not self._lock.locked()):
            async with self._lock:
                is_needed = self._age() > _FRESH_S or self._choose(key_id, algorithm) is None
                if is_needed and self._clock() - self._tried >= _REFETCH_S:
                    await self._refresh()
        if self._age() > _STALE_S:
            raise UnavailableError("the identity provider's keys are unavailable: ask again later")
        return self._choose(key_id, algorithm)

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _choose(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Without an id, the only key of that algorithm; None if there are several."""
        if key_id is not None:
            return self._found.get((key_id, algorithm))
        fitting = [key for (_, name), key in self._found.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh(self) -> None:
        self._tried = self._clock()
        try:
            with anyio.fail_after(_TIMEOUT_S):
                found = dict(_read_keys(await self._fetch()))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError) as error:
            logger.warning("the identity provider's keys were not fetched: %s", _explain(error))
            return
        self._found = found  # replaced as a whole, so a key that the provider withdrew goes
        self._fetched = self._clock()

    async def _fetch(self) -> object:
        """The key set, from the `jwks_uri` in the issuer's metadata."""
        async with httpx.AsyncClient(verify=self._tls, timeout=_TIMEOUT_S) as client:
            for address in discovery_urls(self._issuer, self._issuer):
                metadata = await _get(client, address)
                if metadata is None:
                    continue
                # RFC 8414 requires this comparison: another issuer's keys must not count here.
                if not isinstance(metadata, Mapping) or metadata.get("issuer") != self._issuer:
                    raise ValueError("its metadata names another issuer")
                place = metadata.get("jwks_uri")
                if not isinstance(place, str) or not is_safe(place):
                    raise ValueError("its metadata has no https:// jwks_uri")
                return await _get(client, place)
        raise ValueError("it has no metadata")


def is_safe(address: str) -> bool:
    """Whether responses are protected against tampering: https, or http on loopback."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


async def _get(client: httpx.AsyncClient, address: str) -> object:
    """The JSON at an address, None for 404; redirects are not followed.

    Raises:
        ValueError: if it is not JSON, or too large.
    """
    body = bytearray()
    async with client.stream("GET", address, headers={"accept": "application/json"}) as response:
        if response.status_code in (404, 405):
            return None
        if response.status_code != 200:
            raise ValueError(f"it answers {response.status_code}")
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MOST_BYTES:
                raise ValueError(f"it answers more than {_MOST_BYTES} bytes")
    return from_json(bytes(body))


def _read_keys(value: object) -> Iterator[tuple[tuple[str | None, str], jwt.PyJWK]]:
    """The usable signing keys by id and algorithm; weak and unsupported keys are skipped."""
    listed = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(listed, list) or len(listed) > 100:
        raise ValueError("it lists no keys")
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        # Public parts only: from a private key listed by mistake PyJWT would build a signing key.
        public: dict[str, Any] = {name: entry[name] for name in _PUBLIC if name in entry}
        try:
            key = jwt.PyJWK(public)
            key.Algorithm.prepare_key(key.key)  # raises if the curve does not fit
        except (jwt.PyJWTError, LookupError, NotImplementedError, TypeError, ValueError):
            continue
        is_weak = key.Algorithm.check_key_length(key.key) is not None
        if key.algorithm_name in ALGORITHMS and not is_weak:
            key_id = entry.get("kid")
            yield (key_id if isinstance(key_id, str) else None, key.algorithm_name), key


def _explain(error: Exception) -> str:
    """A reason for the log: our own text, or only the type, as other texts may quote the body."""
    return str(error) if type(error) is ValueError else type(error).__name__
