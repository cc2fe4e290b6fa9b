"""E-mail masking: within a call, a keyed hash replaces every e-mail address.

- `EmailMask` masks texts, arguments, errors, URIs and the keys of rows, and remembers their
  addresses for the call.
- `MaskingBackend` masks rows as they come from a backend. It alone restores addresses, in the
  queries it sends.
- `hide_uris` masks the URIs that the SDK repeats in responses.

`ToolContext.answer` masks a call with them: arguments on the way in, every text on the way out. It
is not an access control.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

import anyio

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.errors import (
    GatewayMetricsError,
    InvalidQueryError,
    Problem,
    Problems,
    SettingsError,
)
from gateway_metrics_mcp.query import (
    METADATA_PREFIX,
    Caller,
    Catalog,
    DataPoints,
    DatasourceName,
    Filter,
    Key,
    Query,
    Result,
    Scalar,
    parse_json,
)
from gateway_metrics_mcp.query.result import Row
from gateway_metrics_mcp.reports.rows_uri import format_link, read_link
from gateway_metrics_mcp.runtime.concurrency import run_in_thread_if_large
from gateway_metrics_mcp.runtime.scratch import is_full

if TYPE_CHECKING:  # `ask` masks without the SDK
    from mcp.server.context import (
        CallNext,
        HandlerResult,
        ServerMiddleware,
        ServerRequestContext,
    )

import os
import secrets
from contextlib import suppress
from pathlib import Path

from gateway_metrics_mcp.settings import Settings

_DIGITS: Final = 10
"""Hexadecimal digits of a hash. With 40 bits, two of 10,000 addresses collide in one of 20,000
installations."""

_SUBJECTS: Final = frozenset(("userEmail", "virtualaccount", "createdBySubjectSlug"))
# Operators that compare whole values, so they tell nothing of a part of an address.
_WHOLE: Final = ("EQUAL", "NOT_EQUAL", "IN", "NOT_IN", "ARRAY_HAS_ANY", "ARRAY_HAS_NONE", "IS_NULL")
_AT: Final = re.compile("[@\ufe6b\uff20]|%40", re.IGNORECASE)

# Runs are possessive (no backtracking), so matching takes linear time on hostile text. An escape
# of JSON or of a cell ends a run: masking half of one would break the text around it. Right before
# the `@` it belongs to the address, as it may be a backslash and a name of one letter. An
# apostrophe within a name is part of it.
_RUN: Final = r"(?:(?!%40)[^\s@\ufe6b\uff20\"'`<>()\[\]{},;:=&?/|\\]|(?<=[^\W_])'(?=[^\W_]))"
_TOP: Final = r"(?:xn--[a-z0-9-]+|[^\W\d_]{2}[\w-]*)"
# A full-width dot also ends sentences, so it counts as the host's dot only if there is no other.
_HOST: Final = rf"(?:{_RUN}+(?:\.|%2e){_TOP}|{_RUN}+[\u3002\uff0e\uff61]{_TOP})"
_ADDRESS: Final = re.compile(
    rf"metadata\.|(?:\\u[0-9a-f]{{4}}|\\.|{_RUN}++)"
    rf"(?P<rest>(?:[@\ufe6b\uff20]|%40){_HOST})?",
    re.IGNORECASE | re.DOTALL,
)
_HIDDEN: Final = re.compile(rf"user-[0-9a-f]{{{_DIGITS}}}(?![A-Za-z0-9])")


@dataclass(slots=True)
class EmailMask:
    """The addresses that one call has met, by hash. Without a key nothing is masked."""

    key: bytes | None = field(repr=False)
    _seen: dict[str, str] = field(default_factory=dict, repr=False)
    _typed: set[str] = field(default_factory=set, repr=False)
    """Texts of the caller with an `@` that is no address: never masked, the caller wrote them."""

    def hide(self, text: str) -> str:
        """The text with each address replaced by its hash."""
        if self.key is None or _AT.search(text) is None:
            return text
        return _ADDRESS.sub(lambda m: self._hash(m[0]) if m["rest"] else m[0], text)

    def read(self, value: Any) -> Any:
        """The caller's JSON value with addresses masked, in object keys too."""
        if self.key is None:
            return value
        if isinstance(value, str):
            return self._read_text(value)
        if isinstance(value, Mapping):
            return {self.read(name): self.read(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.read(item) for item in value]
        return value

    def _read_text(self, text: str) -> str:
        """Mask a text; if it is JSON, mask it parsed, where an escape can hide an `@`."""
        hidden = self.hide(text)
        parsed = parse_json(text)
        if not isinstance(parsed, str):
            read = self.read(parsed)
            if read != parse_json(hidden):
                hidden = json.dumps(read, ensure_ascii=False)
        if _AT.search(hidden) is not None:
            self._typed.add(hidden)
        return hidden

    def hide_error(self, error: GatewayMetricsError) -> None:
        """Mask the addresses in every text of an error."""
        error.args = tuple(self.hide(str(part)) for part in error.args)
        if isinstance(error, InvalidQueryError):
            error.correction = self.hide(error.correction)
            error.problems = tuple(
                Problem(self.hide(one.place), self.hide(one.message)) for one in error.problems
            )
        if isinstance(error, SettingsError):
            error.public = self.hide(error.public)

    def hide_key(self, key: Key, *, is_subject: bool) -> Key:
        """Mask a key of a row; in a column of subjects, any text with an `@` is an address."""
        if not isinstance(key, str) or _AT.search(key) is None:
            return key
        hidden = self.hide(key)
        is_left = is_subject and _AT.search(hidden) is not None and hidden not in self._typed
        return self._hash(key) if is_left else hidden

    def hide_uri(self, uri: str) -> str:
        """Mask the addresses in a URI, percent-encoded ones too; it names the same resource."""
        arguments = read_link(uri)
        if isinstance(arguments, Mapping):
            shown = self.read(arguments)
            return uri if shown == arguments else format_link(shown)
        plain = unquote(uri)
        hidden = self.hide(plain)
        return self.hide(uri) if hidden == plain else percent_encode(hidden, safe="/:")

    def reveal(self, value: Scalar) -> Scalar:
        """The value with the hashes that this call knows replaced by their addresses."""
        if not isinstance(value, str):
            return value
        return _HIDDEN.sub(lambda match: self._seen.get(match[0], match[0]), value)

    def is_open(self, value: Scalar) -> bool:
        """Whether the value contains a hash whose address this call does not know yet."""
        return isinstance(value, str) and any(
            name not in self._seen for name in _HIDDEN.findall(value)
        )

    def _hash(self, address: str) -> str:
        data = address.encode("utf-8", "surrogatepass")
        digest = hmac.new(self.key or b"", data, hashlib.sha256)
        name = f"user-{digest.hexdigest()[:_DIGITS]}"
        self._seen[name] = address
        return name


def hide_uris(key: bytes) -> ServerMiddleware[Any]:
    """Middleware that masks URIs in responses: the SDK repeats a resource's URI as requested."""
    mask = EmailMask(key)

    async def hide(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method != "resources/read" or not isinstance(result, dict):
            return result
        contents = [{**one, "uri": mask.hide_uri(one["uri"])} for one in result["contents"]]
        return {**result, "contents": contents}

    return hide


# Why rows are masked here and not in the finished answer: charts are drawn from rows, budgets
# count the letters shown, and search, order and suggestions would reveal what is masked.
class MaskingBackend:
    """Wraps a backend for one call: takes hashes in filters, and returns hashes in rows."""

    def __init__(self, backend: Backend, mask: EmailMask, catalog: Catalog) -> None:
        self._backend = backend
        self._catalog = catalog
        self._mask = mask
        self._lock = anyio.Lock()
        self._listed: set[tuple[DatasourceName, str, datetime, datetime]] = set()

    @property
    def description(self) -> str:
        """The wrapped backend's description."""
        return self._backend.description

    @property
    def is_by_rulings(self) -> bool:
        """As the wrapped backend's."""
        return self._backend.is_by_rulings

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows with hashes; a hash in a filter is looked up among the window's values.

        Raises:
            InvalidQueryError: if a filter compares parts of masked values.
            GatewayMetricsError: if the wrapped backend fails.
        """
        self._check_filters(query)
        await self._look_up(query, caller)
        revealed = query.model_copy(
            update={
                "group_by": tuple(map(self._mask.reveal, query.group_by)),
                "filters": tuple(map(self._reveal_filter, query.filters)),
            }
        )
        return await self._hide(await self._backend.query(revealed, caller))

    def explain(self, query: Query, caller: Caller) -> str:
        """The query as it would be sent, with hashes."""
        self._check_filters(query)
        return self._mask.hide(self._backend.explain(query, caller))

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The metadata keys, with addresses masked."""
        keys = await self._backend.metadata_keys(datasource, start, end, caller)
        return None if keys is None else await self._hide(keys)

    async def aclose(self) -> None:
        """Do nothing: the wrapped backend outlives the call."""

    async def _hide(self, result: Result) -> Result:
        return await run_in_thread_if_large(len(result.points), self._hide_rows, result)

    def _hide_rows(self, result: Result) -> Result:
        is_subject = [name in _SUBJECTS for name in result.key_names]
        has_hidden = False
        rows: list[Row] = []
        for point in result.points:
            keys = tuple(
                self._mask.hide_key(key, is_subject=is_subject[i])
                for i, key in enumerate(point.keys)
            )
            has_hidden = has_hidden or keys != point.keys
            rows.append((keys, point.values, point.start))
        note = "e-mail addresses are masked: user-… stands for one, in filters too"
        return replace(
            result,
            key_names=tuple(map(self._mask.hide, result.key_names)),
            points=DataPoints(rows),
            notes=(*map(self._mask.hide, result.notes), *((note,) if has_hidden else ())),
        )

    def _check_filters(self, query: Query) -> None:
        """Refuse filters that could spell out an address letter by letter.

        Raises:
            InvalidQueryError: with each such filter and the operators allowed for it.
        """
        problems = Problems()
        for number, one in enumerate(query.filters):
            name = self._catalog.canonical("groupBy", one.field_name)
            is_masked = name in _SUBJECTS or name.startswith(METADATA_PREFIX)
            if is_masked and one.operator not in _WHOLE:
                known = self._catalog.filter_field(query.datasource, one.field_name)
                allowed = [o for o in _WHOLE if known is None or o in known.allowed]
                problems.add(
                    f"filters[{number}].operator",
                    f"{one.operator} would compare parts of e-mail addresses, which are masked."
                    f" Allowed for {one.field_name} here: {', '.join(allowed)}, with a whole value"
                    " or the user-… that stands for it",
                )
        if problems:
            raise InvalidQueryError(problems)

    async def _look_up(self, query: Query, caller: Caller) -> None:
        """Find the addresses behind hashes of earlier answers, with one query per field and window.

        A hash is keyed and cannot be inverted, so the field's values are listed and hashed, with
        the caller's rights. A hash that no row has is sent as it is, and matches nothing.
        """
        known = self._catalog.datasources[query.datasource].group_by
        for one in query.filters:
            name = self._catalog.canonical("groupBy", one.field_name)
            if name not in known and not name.startswith(METADATA_PREFIX):
                continue
            place = (query.datasource, name, query.start_ts, query.end_ts)
            # A call's queries run side by side: the lock lets the first one list the values.
            async with self._lock:
                if place in self._listed or not any(map(self._mask.is_open, one.values)):
                    continue
                listing = Query(
                    datasource=query.datasource,
                    type="distribution",
                    start_ts=query.start_ts,
                    end_ts=query.end_ts,
                    group_by=(str(self._mask.reveal(name)),),
                )
                await self._hide(await self._backend.query(listing, caller))
                self._listed.add(place)

    def _reveal_filter(self, one: Filter) -> Filter:
        values = tuple(map(self._mask.reveal, one.values))
        value = values if isinstance(one.value, tuple) else values[0]
        name = self._mask.reveal(one.field_name)
        return one.model_copy(update={"field_name": name, "value": value})


# --- the key: read, or made once ---


_KEY_FILE: Final = "hidden-emails.key"
_MAKE: Final = "Make one: openssl rand -hex 32 > FILE"


def read_hiding_key(settings: Settings, *, state: Path | None = None) -> bytes | None:
    """The masking key; None if addresses are not masked.

    Without `hide_emails_key` it is created once in the user's state directory (`state`), readable
    by the user only.

    Raises:
        SettingsError: if the file cannot be read or created, or has fewer than 16 bytes.
    """
    if not settings.hide_emails:
        if settings.hide_emails_key is not None:
            raise SettingsError("hide_emails_key has no effect without --hide-emails true")
        return None
    path = settings.hide_emails_key
    try:
        if path is None:
            path = _make_key(state or find_made_key().parent)
        key = path.read_bytes().removeprefix(BOM_UTF8).strip()
    except OSError as error:
        reason = "its disk is full" if is_full(error) else error.strerror or "not possible"
        where = f"the key file of hidden addresses {path or find_made_key()}"
        raise SettingsError(f"{where} cannot be read or made: {reason}. {_MAKE}") from None
    if len(key) < 16:
        raise SettingsError(f"the key file {path} has fewer than 16 bytes. {_MAKE}")
    return key


def find_made_key() -> Path:
    """Where the key is made that no setting names."""
    import platformdirs  # only for a key that we make

    return Path(platformdirs.user_state_dir("gateway-metrics-mcp")) / _KEY_FILE


def _make_key(directory: Path) -> Path:
    """The path of the key file; created if missing, by the first of concurrent processes."""
    kept = directory / _KEY_FILE
    if kept.exists():
        return kept
    directory.mkdir(parents=True, exist_ok=True)
    made = directory / f"{_KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(32)}\n")
        with suppress(FileExistsError):
            # A link appears whole and never replaces another process's key, as a rename would.
            os.link(made, kept)
    finally:
        made.unlink(missing_ok=True)
    return kept
