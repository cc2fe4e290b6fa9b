"""Translates the gateway's refusals and httpx's errors into ours, which a language model reads.

Of the gateway's words only its documented messages are repeated; the rest goes to the debug log.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Final

import httpx
from pydantic_core import from_json

from gateway_metrics_mcp.backends.gateway.address import EXAMPLE_HOST
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    ForbiddenError,
    GatewayMetricsError,
    InternalError,
    RateLimitedError,
    RefusedQueryError,
    TlsError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    WrongHostError,
    list_causes,
)
from gateway_metrics_mcp.query.vocabulary import OPERATORS

WRONG_HOST: Final = (
    "the gateway's address is probably the inference host, a page of the web interface or a wrong "
    f"tenant: it must be the control plane, such as {EXAMPLE_HOST}"
)

_LOG: Final = logging.getLogger(__name__)
_LONGEST_LOG: Final = 1_000
_LONGEST_WAIT_S: Final = 86_400

# A field name in a documented message, bounded in form so that no prose of a row or page passes.
_FIELD: Final = r"([A-Za-z]\w{0,63}(?:\.[\w-]{1,64})?)"
_DOCUMENTED: Final = (
    (
        re.compile(
            rf'Field "{_FIELD}" does not support operator "({"|".join(OPERATORS)})"', re.ASCII
        ),
        'Field "{}" does not support operator "{}"',
    ),
    (
        re.compile(rf"Unsupported gateway config filter name: {_FIELD}(?![\w-])", re.ASCII),
        "Unsupported gateway config filter name: {}",
    ),
)
_PASSING: Final = ("502", "503", "504")
_BY_STATUS: Final[dict[int, tuple[type[GatewayMetricsError], str]]] = {
    401: (
        UnauthorizedError,
        (
            "the gateway does not accept the token (401): it is mistyped, expired, or of another "
            "tenant. Set TFY_API_KEY, or over HTTP the header X-TFY-API-Key, to a valid personal "
            "access token or virtual account token"
        ),
    ),
    403: (
        ForbiddenError,
        (
            "the token may not query this (403): its user or virtual account needs the right to "
            "read these metrics, or the query must stay within its own and its teams' data"
        ),
    ),
    404: (WrongHostError, f"nothing answers there (404): {WRONG_HOST}"),
    405: (WrongHostError, f"what answers there accepts no queries (405): {WRONG_HOST}"),
    407: (
        UnreachableError,
        (
            "the proxy asks for credentials (407): put them into HTTPS_PROXY or HTTP_PROXY, or "
            "name the gateway's host in NO_PROXY"
        ),
    ),
    408: (
        BackendTimeoutError,
        "the gateway gave up on the query (408): ask again, over a shorter time range",
    ),
    413: (
        RefusedQueryError,
        "the query is too large for the gateway (413): ask with fewer values in its filters",
    ),
    # A web server that takes no POST answers 501, so the address is wrong.
    501: (WrongHostError, f"what answers there accepts no queries (501): {WRONG_HOST}"),
}


def explain_status(
    status: int, retry_after: str | None, body: bytes, token: str
) -> GatewayMetricsError:
    """The error for a status other than 2xx and 3xx; the body goes to the debug log."""
    text = body.decode("utf-8", "replace").replace(token, "[token]")  # before the cut
    _LOG.debug("the gateway answered %d: %s", status, ascii(text[:_LONGEST_LOG]))
    wait_s = _read_wait(retry_after)
    if status == 429:
        when = "in a minute or later" if wait_s is None else f"after {wait_s} seconds"
        text = f"the gateway asks for fewer requests (429): ask again {when}"
        return RateLimitedError(text, is_passing=True, wait_s=wait_s)
    if status >= 500 and status not in _BY_STATUS:
        is_passing = str(status) in _PASSING
        when = f"after {wait_s} seconds" if is_passing and wait_s is not None else "later"
        return UnavailableError(
            f"the gateway failed ({status}): ask again {when}; if it persists, the "
            "gateway's operator has to look into it",
            is_passing=is_passing,
            wait_s=wait_s,
        )
    if status in _BY_STATUS:
        kind, sentence = _BY_STATUS[status]
        return kind(sentence)
    return RefusedQueryError(_explain_refusal(status, text))


def _read_wait(retry_after: str | None) -> int | None:
    """The seconds of a Retry-After, given as seconds or a date; None if invalid."""
    text = (retry_after or "").strip()
    try:
        if re.fullmatch(r"[0-9]{1,9}", text):
            wait_s = int(text)
        else:
            wait_s = ceil((read_date(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
    return wait_s if 0 < wait_s <= _LONGEST_WAIT_S else None


def read_date(text: str) -> datetime:
    """The instant of an HTTP date.

    Raises:
        ValueError, OverflowError: if it is not one.
    """
    date = parsedate_to_datetime(text)
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def _explain_refusal(status: int, text: str) -> str:
    reasons = list(dict.fromkeys(_documented_reasons(text)))[:5]
    if reasons:
        return f"the gateway refuses the query ({status}): {'; '.join(reasons)}"
    return (
        f"the gateway refuses the query ({status}) without a documented reason: check its names, "
        "operators and values. The gateway's own words are in the server's log at debug level"
    )


def _documented_reasons(text: str) -> Iterator[str]:
    """The documented messages in an error body, rebuilt from the names in them.

    Rebuilt rather than copied, so that no other text of the gateway reaches a model.
    """
    for message in _messages(text):
        for pattern, sentence in _DOCUMENTED:
            for match in pattern.finditer(message):
                yield sentence.format(*match.groups())


def _messages(text: str) -> list[str]:
    """The texts under `message`, `error` or `detail`, each a text or a list of texts."""
    try:
        body = from_json(text)
    except ValueError:
        return []
    found = [body.get(key) for key in ("message", "error", "detail")] if type(body) is dict else []
    items = [item for value in found for item in (value if type(value) is list else [value])]
    return [item for item in items if isinstance(item, str)]


_BY_VERDICT: Final = {
    9: (
        "the gateway's certificate is not valid yet, by this machine's clock: set the clock right, "
        "or ask the gateway's operator"
    ),
    10: (
        "the gateway's certificate has expired, by this machine's clock: the gateway's operator "
        "has to renew it, unless the clock here is wrong"
    ),
    62: (
        "the gateway's certificate is for another host name: check the spelling of the address, "
        "and whether a proxy answers in the gateway's place"
    ),
    64: (
        "the gateway's certificate is not for this IP address: give the gateway's host name, and "
        "check whether a proxy answers in its place"
    ),
}
"""By OpenSSL's verify code (`SSLCertVerificationError.verify_code`)."""


def explain_failure(error: Exception, timeout_s: float) -> GatewayMetricsError:
    """Our error for one of httpx's, or of the time limit."""
    causes = list(list_causes(error))
    reasons = [repr(cause) for cause in causes if isinstance(cause, OSError)]
    _LOG.debug("no answer from the gateway: %s %s", type(error).__name__, "; ".join(reasons))
    if isinstance(error, httpx.ConnectTimeout):
        return BackendTimeoutError(
            "no connection to the gateway came about in time: if it persists, check its address, "
            "the firewall and HTTPS_PROXY"
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return explain_timeout(timeout_s)
    for cause in causes:
        # SSLEOFError means that the peer broke the connection off, not that TLS failed.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return _explain_tls(cause)
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return _explain_connection(error, causes)
    if isinstance(error, httpx.LocalProtocolError):
        return InternalError("the request to the gateway could not be encoded as HTTP")
    return UnavailableError(
        "the gateway closed the connection before its answer was complete: ask again later",
        is_passing=True,
    )


def explain_timeout(timeout_s: float) -> BackendTimeoutError:
    """The error for an answer that exceeds the time limit of all attempts together."""
    return BackendTimeoutError(
        f"the gateway gave no complete answer within {timeout_s:g} seconds: ask for a shorter "
        "time range or fewer groups, or set a longer time limit"
    )


def _explain_tls(error: ssl.SSLError) -> TlsError:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _BY_VERDICT:
            return TlsError(_BY_VERDICT[error.verify_code])
        return TlsError(
            "the gateway's certificate could not be verified: if it is from a private authority,"
            " or a proxy inserts its own, set SSL_CERT_FILE to the authority's certificate;"
            " otherwise check the address and whether the certificate has expired"
        )
    return TlsError(
        "no TLS connection to the gateway came about: check that the address and its port speak "
        "HTTPS and TLS 1.2 or later, and that no proxy is in the way"
    )


def _explain_connection(error: Exception, causes: list[BaseException]) -> UnreachableError:
    if isinstance(error, httpx.ProxyError):
        status = str(error)[:3]
        return UnreachableError(
            "the proxy refuses to connect to the gateway"
            f"{f' ({status})' if status.isdigit() else ''}"
            ": check HTTPS_PROXY and its credentials, or name the gateway's host in NO_PROXY",
            is_passing=status in _PASSING,
        )
    nameless = [cause for cause in causes if isinstance(cause, socket.gaierror)]
    if nameless:
        return UnreachableError(
            "the host name of the gateway, or of the proxy to it, is unknown: check its spelling "
            "and this machine's name servers",
            # A name server that is busy may answer soon; an unknown name stays unknown.
            is_passing=nameless[0].errno == socket.EAI_AGAIN,
        )
    return UnreachableError(
        "no connection to the gateway, or to the proxy to it: check the address and its port, "
        "this machine's network, HTTPS_PROXY and NO_PROXY",
        is_passing=True,
    )
