"""All errors of this package, in one tree by who must act.

GatewayMetricsError
├── AskerError                change the question
│   ├── InvalidQueryError
│   ├── TooManyRowsError
│   ├── QueryTooLargeError
│   ├── RefusedQueryError
│   ├── UnknownToolError
│   └── UnknownResourceError
├── OperatorError             change the server's settings or environment
│   ├── SettingsError
│   ├── UnauthorizedError
│   ├── ForbiddenError
│   ├── WrongHostError
│   ├── TlsError
│   ├── UnreachableError
│   └── EngineError
├── GatewayError              wait for the backend to recover
│   ├── RateLimitedError
│   ├── UnavailableError
│   ├── BackendTimeoutError
│   ├── BusyError
│   ├── UnreadableResponseError
│   └── ResponseTooLargeError
├── RefusedRequestError       change the HTTP request; no question was read
│   └── RefusedCallerError
│       └── ExpiredTokenError
└── InternalError             fix this package

A language model may read each error's text; of a SettingsError, its `public`. Texts contain our own
words, the asker's values and the gateway's documented messages, never an address, a token or a
stack trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, ParamSpec, TypeVar

_Inputs = ParamSpec("_Inputs")
_Output = TypeVar("_Output")


class GatewayMetricsError(Exception):
    """The root of the tree. `code` is stable and meant for programs.

    `is_passing`: the same request may succeed soon, so a retry makes sense. `wait_s`: the seconds
    to wait first, if the gateway named any.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str = "", *, is_passing: bool = False, wait_s: int | None = None
    ) -> None:
        self.is_passing = is_passing
        self.wait_s = wait_s
        super().__init__(message)


class AskerError(GatewayMetricsError):
    """Change the question."""

    code = "bad_query"


class OperatorError(GatewayMetricsError):
    """The operator has to change the server's settings or environment."""

    code = "setup"


class GatewayError(GatewayMetricsError):
    """The backend has to recover; the same question may work later."""

    code = "gateway"


class InternalError(GatewayMetricsError):
    """A bug in this package; the log has the details."""

    code = "internal"


class Fix(NamedTuple):
    """What a problem's place should hold, as data: a corrected call is made of these.

    In a list, `entries` replace the entry, none or several; elsewhere one is the value.
    """

    entries: tuple[Any, ...] = ()
    adds: Mapping[str, Any] = {}
    """By argument, what else has to be asked: appended to a list, else the argument's value."""
    has_answer: bool = True
    """False if no call can answer what was asked: nothing is suggested then."""


class Problem(NamedTuple):
    """One problem with a question (R20).

    `place` is a path such as `filters[0].operator`; `message` says what is wrong, what is
    allowed, and the nearest valid spelling, which is `fix` as data.
    """

    place: str
    message: str
    fix: Fix | None = None

    @property
    def argument(self) -> str:
        """The argument that contains the place."""
        return self.place.partition("[")[0].partition(".")[0]

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class InvalidQueryError(AskerError):
    """Correct the arguments: `problems` lists every one that does not fit the API (R20).

    `correction` is the call that was probably meant, as text, if there is one.
    """

    code = "invalid_query"

    def __init__(self, problems: Sequence[Problem], correction: str = "") -> None:
        self.problems = tuple(problems)
        self.correction = correction
        super().__init__("\n".join(f"- {problem}" for problem in self.problems))


class MisspeltError(ValueError):
    """A value that cannot be read, and what to write instead."""

    def __init__(self, message: str, fix: Fix | None = None) -> None:
        self.fix = fix
        super().__init__(message)


class Problems(list[Problem]):
    """The problems of one question, collected so that one refusal lists all of them (R20)."""

    def add(self, place: str, message: str, fix: Fix | None = None) -> None:
        """Add one problem."""
        self.append(Problem(place, message, fix))

    def attempt(
        self,
        place: str,
        read: Callable[_Inputs, _Output],
        *args: _Inputs.args,
        **kwargs: _Inputs.kwargs,
    ) -> _Output | None:
        """Call a reader: its value, or None after adding its ValueError as a problem at `place`.

        Problems of an InvalidQueryError keep their own places.
        """
        try:
            return read(*args, **kwargs)
        except InvalidQueryError as error:
            self.extend(error.problems)
        except ValueError as error:
            self.add(place, str(error), getattr(error, "fix", None))
        return None


class TooManyRowsError(AskerError):
    """Narrow the question: it has more rows than the engine's row cap (R19)."""

    code = "too_many_rows"


class QueryTooLargeError(AskerError):
    """Narrow the question: it exceeds the engine's memory or a limit of the database user."""

    code = "query_too_large"


class RefusedQueryError(AskerError):
    """Correct the question: the gateway refused it (400 and other 4xx)."""

    code = "refused_query"


class UnknownToolError(AskerError):
    """Use a tool that exists."""

    code = "unknown_tool"


class UnknownResourceError(AskerError):
    """Use a resource that exists."""

    code = "unknown_resource"


class SettingsError(OperatorError):
    """Correct a flag, a variable or a file of the server.

    `public` replaces the text for a language model if the text names a path.
    """

    code = "settings"

    def __init__(self, message: str, *, public: str | None = None) -> None:
        self.public = message if public is None else public
        super().__init__(message)


class UnauthorizedError(OperatorError):
    """Replace the token or password: the backend does not accept it (401)."""

    code = "unauthorized"


class ForbiddenError(OperatorError):
    """Grant the token or user more rights: it may not read this (403)."""

    code = "forbidden"


class WrongHostError(OperatorError):
    """Correct the address: another service answers there (404, a redirect, HTML)."""

    code = "wrong_host"


class TlsError(OperatorError):
    """Fix TLS: the backend's certificate could not be verified."""

    code = "tls"


class UnreachableError(OperatorError):
    """Check address, network and proxy: there is no connection."""

    code = "unreachable"


class EngineError(OperatorError):
    """Repair the engine's data: it cannot be read or written."""

    code = "engine"


class RateLimitedError(GatewayError):
    """Ask later: the backend limits the rate of requests (429)."""

    code = "rate_limited"


class UnavailableError(GatewayError):
    """Ask later: the backend failed (5xx), or this server is stopping."""

    code = "unavailable"


class BackendTimeoutError(GatewayError):
    """Ask less, or raise the time limit: no answer arrived within it."""

    code = "timeout"


class UnreadableResponseError(GatewayError):
    """Ask later: the gateway answered 200 with a body that is not a metrics result."""

    code = "unreadable_response"


class ResponseTooLargeError(GatewayError):
    """Ask less: the gateway's answer exceeds `--max-response-bytes`."""

    code = "response_too_large"


class BusyError(GatewayError):
    """Ask later: too many queries run at once (503)."""

    code = "busy"


class RefusedRequestError(GatewayMetricsError):
    """Correct the HTTP request: it was refused with `status`; `error` is a word for programs."""

    code = "http"

    def __init__(self, message: str, *, status: int, error: str | None = None) -> None:
        self.status = status
        self.error = error
        super().__init__(message)


class RefusedCallerError(RefusedRequestError):
    """Send valid credentials; `error` is the code of RFC 6750, if it defines one."""

    code = "unauthorized"

    def __init__(self, message: str, *, status: int = 401, error: str | None = None) -> None:
        super().__init__(message, status=status, error=error)


class ExpiredTokenError(RefusedCallerError):
    """Get a new token: this one has expired."""

    code = "token_expired"


def list_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and what it was raised while handling."""
    if error is not None:
        yield error
        yield from list_causes(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from list_causes(error.__context__)


_MARKUP: Final = re.compile(r"!(?=\[)|(?<=\])\(|<(?=[A-Za-z/!?])(?!key>)")


def break_markup(text: str) -> str:
    r"""The text with escapes in Markdown's images and links, and in HTML's tags.

    A host that renders what a model copies would load what they name. The escapes are JSON's, so
    quoted text still reads back.
    """
    return _MARKUP.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def quote(value: object) -> str:
    """An input value for a message: quoted, on one line, at most 80 characters.

    Control characters are escaped, so that no value can imitate a line of ours.
    """
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
    shown = break_markup(shown)
    if len(shown) > 80:
        shown = f"{shown[:80]}…(+{len(shown) - 80})"
    return f'"{shown}"' if isinstance(value, str) else shown
