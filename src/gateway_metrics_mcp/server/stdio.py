"""The lines of stdio that are no messages: answered, because the SDK drops them and callers wait.

Everything else of the transport is the SDK's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final, Self, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json

_MARK: Final = "\ufeff"
_NO_ID: Final = ErrorData(
    code=INVALID_REQUEST, message="Invalid request: the id is not text or a whole number"
)
_PART: Final = r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]":,]+'


@asynccontextmanager
async def open_stdio() -> AsyncIterator[tuple[Lines, Any]]:
    """The SDK's streams of stdio; what is read are messages only."""
    async with stdio_server() as (messages, answers):
        yield Lines(messages, answers), answers


class Lines:
    """The messages of stdio. The SDK's reader hands on the error of a line that is none.

    A byte order mark before the first line is passed over.
    """

    def __init__(self, messages: Any, answers: Any) -> None:
        self._messages = messages
        self._answers = answers
        self._is_first = True

    @property
    def last_context(self) -> Context | None:
        """The context that the SDK handles the last message in."""
        context: Context | None = self._messages.last_context
        return context

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: at the end of stdin.
        """
        while True:
            item: SessionMessage | Exception = await self._messages.receive()
            if self._is_first and isinstance(item, ValidationError):
                item = _read_marked(item)
            self._is_first = False
            if isinstance(item, ValidationError):
                answer = refuse_line(item)
            elif isinstance(item, SessionMessage) and _lacks_id(item):
                answer = _answer(None, _NO_ID)
            else:
                return item
            if answer is not None:
                await self._answers.send(SessionMessage(answer))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._messages.aclose()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _lacks_id(item: SessionMessage) -> bool:
    """Whether a request came without a usable id: null, a fraction, or none.

    The SDK reads it as a notification, and its caller would wait. MCP's own are named
    `notifications/...`, and get no answer.
    """
    message = item.message
    if not isinstance(message, JSONRPCNotification):
        return False
    return not message.method.startswith("notifications/")


def _read_marked(error: ValidationError) -> SessionMessage | ValidationError:
    """The message behind a byte order mark; else the error."""
    line = error.errors(include_url=False)[0]["input"]
    if not isinstance(line, str) or not line.startswith(_MARK):
        return error
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line[1:], by_name=False))
    except ValidationError as other:
        return other


def refuse_line(error: ValidationError) -> JSONRPCError | None:
    """The answer to a line that is no message; None for a blank one, and for a broken response."""
    found = error.errors(include_url=False)
    given = found[0]["input"]
    if found[0]["type"] == "json_invalid":
        wrong = ErrorData(code=PARSE_ERROR, message="Parse error: the line is not valid JSON")
        return _answer(_find_id(str(given)), wrong) if str(given).strip() else None
    # Each kind of message was tried, and one of them lacks a member of the whole object.
    objects = [one["input"] for one in found if one["type"] == "missing" and len(one["loc"]) == 2]
    members: dict[str, object] = next(iter(objects), {})
    if "method" not in members and {"result", "error"} & members.keys():
        return None
    what = "a batch" if isinstance(given, list) else "not a JSON-RPC 2.0 message"
    wrong = ErrorData(code=INVALID_REQUEST, message=f"Invalid request: {what}")
    return _answer(members.get("id"), wrong)


def _answer(id_: object, error: ErrorData) -> JSONRPCError:
    """The error for a request's id; for null if that is no id."""
    is_id = isinstance(id_, str | int) and not isinstance(id_, bool)
    return JSONRPCError(jsonrpc="2.0", id=cast("str | int", id_) if is_id else None, error=error)


def _find_id(line: str) -> object:
    """The id in a line that is not valid JSON, if it stands in the outermost object."""
    depth, before, end = 0, "", 0
    for match in re.finditer(_PART, line):
        token = match[0]
        if depth == 1 and before == '"id"' and line[end : match.start()].strip() == ":":
            is_whole = line[match.end() :].lstrip()[:1] in (",", "}", "")
            try:
                return from_json(token) if is_whole else None
            except ValueError:
                return None
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        before, end = token, match.end()
    return None
