"""Every error of ours, split by who must act.

GatewayMetricsError
├── AskerError                the question has to change
│   ├── InvalidQueryError
│   ├── TooManyRowsError
│   ├── QueryTooLargeError
│   ├── RefusedQueryError
│   ├── UnknownToolError
│   └── UnknownResourceError
├── OperatorError             the set-up has to change
│   ├── SettingsError
│   ├── UnauthorizedError
│   ├── ForbiddenError
│   ├── WrongHostError
│   ├── TlsError
│   ├── UnreachableError
│   └── EngineError
├── GatewayError              the gateway has to recover
│   ├── RateLimitedError
│   ├── UnavailableError
│   ├── BackendTimeoutError
│   ├── BusyError
│   ├── UnreadableResponseError
│   └── ResponseTooLargeError
├── RefusedRequestError       an HTTP request has to change, before any question is read
│   └── RefusedCallerError
│       └── ExpiredTokenError
└── InternalError             we have to mend the code

A language model may read the text of each error, of a SettingsError its `public`: it holds our own
words, the asker's values and the gateway's documented messages, never an address, a token or a
stack trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, ParamSpec, TypeVar

_Inputs = ParamSpec("_Inputs")
_Output = TypeVar("_Output")


class GatewayMetricsError(Exception):
    """The root; `code` is stable and meant for programs.

    `is_passing`: the same request may succeed in a moment. `wait_s`: when the gateway says so.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str = "", *, is_passing: bool = False, wait_s: int | None = None
    ) -> None:
        self.is_passing = is_passing
        self.wait_s = wait_s
        super().__init__(message)


class AskerError(GatewayMetricsError):
    """The question has to change."""

    code = "bad_query"


class OperatorError(GatewayMetricsError):
    """Whoever runs the server has to change its set-up."""

    code = "setup"


class GatewayError(GatewayMetricsError):
    """The gateway has to recover; the same question may work later."""

    code = "gateway"


class InternalError(GatewayMetricsError):
    """A fault of ours; the log has the details."""

    code = "internal"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a question.

    `place` is a path such as `filters[0].operator`; `message` says what is wrong, what is
    allowed, and the nearest right spelling.
    """

    place: str
    message: str

    @property
    def argument(self) -> str:
        """The argument that the place is in."""
        return self.place.partition("[")[0].partition(".")[0]

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class InvalidQueryError(AskerError):
    """The question does not fit the API; `problems` lists every reason."""

    code = "invalid_query"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"- {problem}" for problem in self.problems))


class Problems(list[Problem]):
    """What is wrong with a question, collected so that one refusal lists all of it."""

    def add(self, place: str, message: str) -> None:
        """Add one problem."""
        self.append(Problem(place, message))

    def attempt(
        self,
        place: str,
        read: Callable[_Inputs, _Output],
        *args: _Inputs.args,
        **kwargs: _Inputs.kwargs,
    ) -> _Output | None:
        """What a reader returns; None if it refuses, and its reason is then a problem at `place`.

        Problems of an InvalidQueryError keep their own places.
        """
        try:
            return read(*args, **kwargs)
        except InvalidQueryError as error:
            self.extend(error.problems)
        except ValueError as error:
            self.add(place, str(error))
        return None


class TooManyRowsError(AskerError):
    """The answer would be larger than the engine's row cap (ruling R19)."""

    code = "too_many_rows"


class QueryTooLargeError(AskerError):
    """The question needs more memory, or reads more, than the engine may."""

    code = "query_too_large"


class RefusedQueryError(AskerError):
    """The gateway answered 400: it does not take this question."""

    code = "refused_query"


class UnknownToolError(AskerError):
    """No tool has this name."""

    code = "unknown_tool"


class UnknownResourceError(AskerError):
    """No resource has this URI."""

    code = "unknown_resource"


class SettingsError(OperatorError):
    """A flag, variable or file of the server's set-up is missing or wrong.

    `public` is what a language model may read of it, where the text names a path.
    """

    code = "settings"

    def __init__(self, message: str, *, public: str | None = None) -> None:
        self.public = message if public is None else public
        super().__init__(message)


class UnauthorizedError(OperatorError):
    """The gateway does not accept the token (401)."""

    code = "unauthorized"


class ForbiddenError(OperatorError):
    """The token may not ask this (403)."""

    code = "forbidden"


class WrongHostError(OperatorError):
    """What answered is not the gateway's control plane (404, a redirect, HTML)."""

    code = "wrong_host"


class TlsError(OperatorError):
    """The gateway's certificate could not be verified."""

    code = "tls"


class UnreachableError(OperatorError):
    """No connection: refused, unknown name, or a proxy in the way."""

    code = "unreachable"


class EngineError(OperatorError):
    """The engine cannot read or write its data."""

    code = "engine"


class RateLimitedError(GatewayError):
    """The gateway asks for fewer requests (429)."""

    code = "rate_limited"


class UnavailableError(GatewayError):
    """The gateway failed (5xx)."""

    code = "unavailable"


class BackendTimeoutError(GatewayError):
    """No answer within the time limit."""

    code = "timeout"


class UnreadableResponseError(GatewayError):
    """The gateway answered 200 with something that is not a metrics result."""

    code = "unreadable_response"


class ResponseTooLargeError(GatewayError):
    """The gateway's answer is larger than the limit."""

    code = "response_too_large"


class BusyError(GatewayError):
    """Too many queries at once (503)."""

    code = "busy"


class RefusedRequestError(GatewayMetricsError):
    """An HTTP request that is refused before it is read: its status, and a word for programs."""

    code = "http"

    def __init__(self, message: str, *, status: int, error: str | None = None) -> None:
        self.status = status
        self.error = error
        super().__init__(message)


class RefusedCallerError(RefusedRequestError):
    """A request without rights; `error` is RFC 6750's code, if it has one for this."""

    code = "unauthorized"

    def __init__(self, message: str, *, status: int = 401, error: str | None = None) -> None:
        super().__init__(message, status=status, error=error)


class ExpiredTokenError(RefusedCallerError):
    """The token was good once."""

    code = "token_expired"
