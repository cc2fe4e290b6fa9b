"""Checks that the gateway's address answers, and reads its clock; sends no token."""

from __future__ import annotations

import ssl
from contextlib import aclosing
from datetime import datetime
from typing import Final

import anyio
import anyio.to_thread
import httpx

from gateway_metrics_mcp.backends.gateway.address import find_proxy, read_host
from gateway_metrics_mcp.backends.gateway.errors import explain_failure, read_date
from gateway_metrics_mcp.errors import SettingsError, UnavailableError
from gateway_metrics_mcp.query.vocabulary import API_PATH

_TIMEOUT_S: Final = 3


class GatewayProbe:
    """Reaches one gateway, over a new connection each time."""

    def __init__(self, host: str) -> None:
        self._url = read_host(host) + API_PATH
        self._tls: ssl.SSLContext | None = None

    async def check(self) -> None:
        """Send a HEAD without a token; any status below 500 proves that the gateway is there.

        Raises:
            GatewayMetricsError: if there is no response, or a 5xx other than 501.
        """
        status, _ = await self._try()
        if status >= 500 and status != 501:  # some answer 501 to HEAD and still take a POST
            raise UnavailableError(f"the gateway fails ({status})")

    async def read_clock(self) -> datetime | None:
        """The time in the response's Date header, whatever the status; None without one.

        Raises:
            GatewayMetricsError: if there is no response.
        """
        _, date = await self._try()
        try:
            return read_date(date)
        except (ValueError, OverflowError):
            return None

    async def _try(self) -> tuple[int, str]:
        """The response's status and Date header.

        Raises:
            GatewayMetricsError: if there is no response.
        """
        try:
            with anyio.fail_after(_TIMEOUT_S):
                if self._tls is None:  # in a thread: reading the certificates is slow
                    self._tls = await anyio.to_thread.run_sync(httpx.create_ssl_context)
                proxy = find_proxy(self._url)
                async with httpx.AsyncHTTPTransport(verify=self._tls, proxy=proxy) as transport:
                    request = httpx.Request("HEAD", self._url)
                    async with aclosing(await transport.handle_async_request(request)) as response:
                        return response.status_code, response.headers.get("date", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise explain_failure(error, _TIMEOUT_S) from None
        except (ValueError, ImportError):
            raise SettingsError("a variable of the proxy holds no usable address") from None
