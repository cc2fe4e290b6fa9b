"""A product over the rows of a case: the embedded engine, or a gateway on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio.from_thread
from mcp.client import Client
from mcp_types import TextContent, TextResourceContents
from pydantic import SecretStr
from tests import loopback
from tests.backends.parquet import write_rows
from tests.http.api.conftest import Book, build_api
from tests.truth.answers import Answer, read_answer
from tests.truth.cases import CALLERS, Case, Row

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Caller
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.resources import NOTES_META
from gateway_metrics_mcp.server.tools import ToolContext, answer_call
from gateway_metrics_mcp.server.view_page import VIEW_META
from gateway_metrics_mcp.settings import Settings

_BEFORE: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Stage:
    """Holds the rows of one case at a time, and answers questions to them.

    One event loop answers all cases: the gateway listens in it, and clients stay connected.
    """

    def __init__(self, directory: Path, portal: Any, opened: ExitStack) -> None:
        self._directory = directory
        self._portal = portal
        self._opened = opened
        self._numbers = count()
        self._clients: dict[tuple[Any, ...], Client] = {}
        self.now: datetime | None = None
        self._engine = DuckDBBackend(directory, load_catalog(), threads=1)
        served = DuckDBBackend(directory, load_catalog(), threads=1)
        book = Book()
        self._tokens = {
            caller: book.issue(
                caller.subject,
                caller.subject_type,
                sorted(caller.teams),
                is_tenant_admin=caller.is_tenant_admin,
            )
            for caller in CALLERS
        }
        app = build_api(served, book)
        port = opened.enter_context(portal.wrap_async_context_manager(loopback.listen(app)))
        self.address = f"http://127.0.0.1:{port}"
        opened.callback(lambda: portal.call(served.aclose))
        opened.callback(lambda: portal.call(self._engine.aclose))

    def fill(self, case: Case) -> None:
        """Replace all rows; names of files are new each time, so that nothing kept can answer."""
        table = self._directory / case.table
        for path in [*table.glob("**/*.parquet")]:
            path.unlink()
        # A row before all windows: a table that lost all its rows is another story.
        days: dict[str, list[Row]] = {"date=2020-01-01": [{"CreatedAt": _BEFORE}]}
        for row in case.rows:
            day = f"{row['CreatedAt']:%Y-%m-%d}"
            days.setdefault(f"date={day}" if case.is_by_day else "", []).append(row)
        for folder, rows in days.items():
            name = f"part-{next(self._numbers)}.parquet"
            write_rows(self._directory, rows, table=case.table, folder=folder, name=name)
        self.now = case.now

    def ask(self, case: Case, *, over_gateway: bool, **changes: Any) -> Answer | str:
        """The answer; a refusal as text."""
        arguments = {**case.arguments, **changes}
        if not over_gateway and not case.caller.is_tenant_admin:
            return self._ask_as(case, arguments)
        client = self._client(case, over_gateway=over_gateway)
        result = self._portal.call(client.call_tool, case.tool, arguments)
        block = result.content[0]
        assert isinstance(block, TextContent)
        if result.is_error:
            return block.text
        answer = read_answer(block.text)
        view = (result.meta or {}).get(VIEW_META)
        title = {} if view is None else view.get("title") or {}
        answer.subtitle = list(title.get("subtitle", ()))
        return answer

    def read(self, case: Case, uri: str, *, over_gateway: bool) -> tuple[str, list[str]]:
        """A resource's text, and its notes."""
        client = self._client(case, over_gateway=over_gateway)
        (content,) = self._portal.call(client.read_resource, uri).contents
        assert isinstance(content, TextResourceContents)
        return content.text, list((content.meta or {}).get(NOTES_META, ()))

    def _ask_as(self, case: Case, arguments: dict[str, Any]) -> Answer | str:
        """In memory there is the local caller alone: others ask at the tools' own door."""

        async def open_backend() -> DuckDBBackend:
            return self._engine

        settings = Settings(**{**case.settings, "ui": False})
        context = ToolContext(settings, open_backend, self._tell_time)

        async def ask() -> str:
            return (await answer_call(context, case.tool, arguments, case.caller)).text

        try:
            return read_answer(self._portal.call(ask))
        except GatewayMetricsError as error:
            return str(error)

    def _tell_time(self) -> datetime:
        assert self.now is not None
        return self.now

    def _client(self, case: Case, *, over_gateway: bool) -> Client:
        """A client of a server with these settings, in memory."""
        asking = case.caller if over_gateway else None
        key = (asking, *case.settings.items())
        if key not in self._clients:
            self._clients[key] = self._connect(asking, case.settings)
        return self._clients[key]

    def _connect(self, asking: Caller | None, settings: dict[str, Any]) -> Client:
        backend: Any = self._engine
        if asking is not None:
            token = self._tokens[asking]
            backend = GatewayBackend(self.address, token, load_catalog())
            self._opened.callback(lambda: self._portal.call(backend.aclose))
        server = build_server(Settings(**settings), backend=backend, clock=self._tell_time)
        client: Client = self._opened.enter_context(
            self._portal.wrap_async_context_manager(Client(server))
        )
        return client

    def ask_twice(self, case: Case, later: Any) -> Answer | str:
        """The second answer of a server that keeps answers, asked so much later."""
        settings = {**case.settings, "ui": False, "backend": self.address}
        token = SecretStr(self._tokens[case.caller])
        server = build_server(Settings(**settings, token=token), clock=self._tell_time)

        async def ask() -> tuple[str, bool]:
            async with Client(server) as client:
                await client.call_tool(case.tool, case.arguments)
                self.now = case.now + later
                result = await client.call_tool(case.tool, case.arguments)
                (block,) = result.content
                assert isinstance(block, TextContent)
                return block.text, bool(result.is_error)

        text, is_error = self._portal.call(ask)
        self.now = case.now
        return text if is_error else read_answer(text)


@contextmanager
def open_stage(directory: Path) -> Iterator[Stage]:
    """A stage whose tables are in the directory."""
    with anyio.from_thread.start_blocking_portal() as portal, ExitStack() as opened:
        yield Stage(directory, portal, opened)
