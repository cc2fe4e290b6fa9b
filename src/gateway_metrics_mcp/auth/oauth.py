"""OAuth resource server: tokens of the organisation's identity provider say who asks (RFC 9728)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from pydantic import ValidationError
from starlette.routing import Route

from gateway_metrics_mcp.auth.credentials import (
    BEARER_HEADER,
    Headers,
    RefusedCallerError,
    find_fault,
    read_bearer,
    refuse_illegal,
)
from gateway_metrics_mcp.auth.jwks import ALGORITHMS, Keys, check_address
from gateway_metrics_mcp.auth.policies import AuthPolicy, Identity
from gateway_metrics_mcp.auth.subjects import SubjectFile
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

_LEEWAY_S: Final = 30
"""How far apart the clocks of two machines may be."""
_NEEDED: Final = ["exp", "iss", "aud", "sub"]


class JwtVerifier(TokenVerifier):
    """The SDK's hook: a JSON Web Token of one issuer for one audience, or None."""

    def __init__(self, issuer: str, audience: str, keys: Keys) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who the token is of; None if it is not good here.

        Raises:
            UnavailableError: if the issuer's keys cannot be had.
        """
        if find_fault(token):
            return None
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError):  # of JSON that is nested too deeply
            return None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
            return None
        key = await self._keys.find(key_id if isinstance(key_id, str) else None, algorithm)
        claims = None if key is None else self._decode(token, key)
        return None if claims is None else self._read(claims)

    def _decode(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any] | None:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": _NEEDED},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _read(self, claims: Mapping[str, Any]) -> AccessToken:
        client = claims.get("azp") or claims.get("client_id")
        return AccessToken(
            token="",
            client_id=str(client or ""),
            scopes=_read_scopes(claims),
            resource=self._audience,
            subject=claims["sub"],
            claims={"iss": self._issuer},
        )


class OAuthPolicy(AuthPolicy):
    """Each brings a token of the identity provider; the operator's file says who that is."""

    def __init__(self, settings: Settings, *, verifier: TokenVerifier | None = None) -> None:
        issuer = check_address(settings.oauth_issuer or "", "--oauth-issuer")
        audience = check_address(settings.oauth_audience or "", "--oauth-audience")
        if settings.oauth_subjects is None:
            raise SettingsError("OAuth needs --oauth-subjects as well")
        self._subjects = SubjectFile(settings.oauth_subjects, is_remote=settings.is_remote)
        self.books = (self._subjects,)
        self._verifier = verifier or JwtVerifier(issuer, audience, Keys(issuer))
        self._scopes = settings.oauth_scope
        self._auth = _read_urls(issuer, audience, settings.oauth_scope)
        self.challenge = _challenge(self._auth)

    def routes(self) -> list[Route]:
        """What clients read to find the identity provider (RFC 9728)."""
        auth = self._auth
        if auth.resource_server_url is None:
            return []
        return create_protected_resource_routes(
            auth.resource_server_url, [auth.issuer_url], auth.required_scopes
        )

    async def identify(self, headers: Headers) -> Identity:
        """The caller whom the subject of the token is mapped to."""
        token = read_bearer(headers)
        if token is None:
            raise RefusedCallerError(
                "bring a token of the identity provider: the header Authorization: Bearer <token>"
            )
        refuse_illegal(token, BEARER_HEADER, error="invalid_token")
        access = await self._verifier.verify_token(token)
        if access is None or access.subject is None:
            raise RefusedCallerError(
                "the token is not good here: it has to be of the right issuer, for this server,"
                " in force, and rightly signed",
                error="invalid_token",
            )
        if lacking := [scope for scope in self._scopes if scope not in access.scopes]:
            raise RefusedCallerError(
                f"the token lacks the scope {' '.join(lacking)}",
                status=403,
                error="insufficient_scope",
            )
        caller = self._subjects.find(access.subject)
        if caller is None:
            raise RefusedCallerError(
                "the token is good, but its subject has no rights here: ask whoever runs this"
                " server to add it",
                status=403,
                error="access_denied",
            )
        return Identity(caller, replace(caller, subject=access.subject))


def _read_scopes(claims: Mapping[str, Any]) -> list[str]:
    """`scope` as RFC 9068 has it, or `scp` as some providers do."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _read_urls(issuer: str, audience: str, scopes: tuple[str, ...]) -> AuthSettings:
    """The addresses as the SDK holds them: a path that is empty stays so."""
    try:
        return AuthSettings.model_validate(
            {
                "issuer_url": issuer,
                "resource_server_url": audience,
                "required_scopes": list(scopes) or None,
                "validate_token_resource": True,
            }
        )
    except ValidationError:
        wrong = "--oauth-issuer and --oauth-audience have to be addresses"
    raise SettingsError(wrong)


def _challenge(auth: AuthSettings) -> str:
    words = ['Bearer realm="gateway-metrics"']
    if auth.resource_server_url is not None:
        where = build_resource_metadata_url(auth.resource_server_url)
        words.append(f'resource_metadata="{where}"')
    if auth.required_scopes:
        words.append(f'scope="{" ".join(auth.required_scopes)}"')
    return ", ".join(words)
