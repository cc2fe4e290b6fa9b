"""What httpx raises when no answer comes -> the error of ours that says who must act."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    GatewayMetricsError,
    InternalError,
    TlsError,
    UnavailableError,
    UnreachableError,
)

_LOG: Final = logging.getLogger(__name__)
_PASSING_CODES: Final = ("502", "503", "504")
_BY_VERDICT: Final = {
    9: (
        "the gateway's certificate is not valid yet, by this machine's clock: set the clock right, "
        "or ask whoever runs the gateway"
    ),
    10: (
        "the gateway's certificate has expired, by this machine's clock: whoever runs the gateway "
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
"""By OpenSSL's number of what is wrong with a certificate."""


def explain_failure(error: Exception, timeout_s: float) -> GatewayMetricsError:
    """The error of ours for one of httpx's."""
    causes = list(_chain(error))
    reasons = [repr(cause) for cause in causes if isinstance(cause, OSError)]
    _LOG.debug("no answer from the gateway: %s %s", type(error).__name__, "; ".join(reasons))
    if isinstance(error, httpx.ConnectTimeout):
        return BackendTimeoutError(
            "no connection to the gateway came about in time: if it stays so, check its address, "
            "the firewall and HTTPS_PROXY"
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return explain_timeout(timeout_s)
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return _explain_tls(cause)
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return _explain_connection(error, causes)
    if isinstance(error, httpx.LocalProtocolError):
        return InternalError("the request to the gateway could not be put into HTTP")
    return UnavailableError(
        "the gateway broke off the connection before its answer was complete: ask again later",
        is_passing=True,
    )


def explain_timeout(timeout_s: float) -> BackendTimeoutError:
    """The error of an answer that takes too long, all tries together."""
    return BackendTimeoutError(
        f"the gateway gave no whole answer within {timeout_s:g} seconds: ask for a shorter "
        "time range or fewer groups, or set a longer time limit"
    )


def _explain_tls(error: ssl.SSLError) -> TlsError:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _BY_VERDICT:
            return TlsError(_BY_VERDICT[error.verify_code])
        return TlsError(
            "the gateway's certificate could not be verified: if it is of a private authority, or "
            "a proxy puts in its own, set SSL_CERT_FILE to the authority's certificate; otherwise "
            "check the address and whether the certificate has expired"
        )
    return TlsError(
        "no TLS connection to the gateway came about: check that the address and its port speak "
        "HTTPS and TLS 1.2 or later, and that no proxy is in the way"
    )


def _explain_connection(error: Exception, causes: list[BaseException]) -> UnreachableError:
    if isinstance(error, httpx.ProxyError):
        status = str(error)[:3]
        return UnreachableError(
            f"the proxy refuses the way to the gateway{f' ({status})' if status.isdigit() else ''}"
            ": check HTTPS_PROXY and its credentials, or name the gateway's host in NO_PROXY",
            is_passing=status in _PASSING_CODES,
        )
    nameless = [cause for cause in causes if isinstance(cause, socket.gaierror)]
    if nameless:
        return UnreachableError(
            "the host name of the gateway, or of the proxy to it, is unknown: check its spelling "
            "and this machine's name servers",
            is_passing=nameless[0].errno == socket.EAI_AGAIN,
        )
    return UnreachableError(
        "no connection to the gateway, or to the proxy to it: check the address and its port, "
        "this machine's network, HTTPS_PROXY and NO_PROXY",
        is_passing=True,
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
