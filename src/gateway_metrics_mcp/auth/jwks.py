"""Fetches and caches the signing keys of the identity provider (JWKS).

PyJWT's PyJWKClient is not used: it reads responses of any size, refetches on every request while
the provider is down, drops expired keys at once, and ignores keys without an id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx
import jwt
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls as discovery_urls,
)
from pydantic_core import from_json

from gateway_metrics_mcp.errors import UnavailableError
from gateway_metrics_mcp.runtime.network import is_loopback

logger = logging.getLogger(__name__)

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
