"""Settings from flags, environment variables and a TOML file, in this order of precedence.

Only values are checked here; combinations are checked where they are used.
"""

from __future__ import annotations

import logging
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import did_you_mean, name_zone, read_zone

logger = logging.getLogger(__name__)

PREFIX: Final = "GATEWAY_METRICS_"
OUR_VARIABLES: Final = (PREFIX, "TFY_")
"""Prefixes of all environment variables that the server reads."""
_HOST: Final = r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
# In lower case, as browsers send it: origins are compared as text.
_ORIGIN: Final = r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?"
REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")
MOST_TOKENS: Final = 12_000
REMOTE_SCHEMES: Final = ("https://", "http://")
CLICKHOUSE_SCHEMES: Final = ("clickhouse://", "clickhouses://")
GATEWAY_HOST: Final = "TFY_HOST"
GATEWAY_TOKEN: Final = "TFY_API_KEY"  # noqa: S105 - the variable's name
CLICKHOUSE_PASSWORD: Final = f"{PREFIX}CLICKHOUSE_PASSWORD"
CLICKHOUSE_PASSWORD_FILE: Final = f"{CLICKHOUSE_PASSWORD}_FILE"


def _split(value: object) -> object:
    """`a, b` as a list: a variable holds one text, a flag can be repeated."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _check_zone(name: str) -> str:
    return read_zone(name_zone(name)).key


def _matching(pattern: str, wanted: str) -> AfterValidator:
    """A validator for a host or origin as clients send it; wildcards do not match."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {wanted}")
        return text

    return AfterValidator(check)


Location = Annotated[Path, AfterValidator(Path.expanduser)]
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Host = Annotated[str, _matching(_HOST, "a host name, such as metrics.example.com")]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(_split)]
Origin = Annotated[str, _matching(_ORIGIN, "an origin, such as https://app.example.com")]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """Every setting; each is a flag, a variable `GATEWAY_METRICS_<NAME>` and a key of the file.

    Secrets are not flags, because the process list shows flags to other users.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str | None = Field(
        None,
        description="what answers: an https:// URL of the gateway's control plane, a directory of"
        " Parquet, clickhouse://user@host:8123/database, or demo: (default: TFY_HOST's gateway)",
    )
    source_name: str | None = Field(
        None,
        description="what answers name as their source (default: the gateway's host, the data"
        " directory's name, or ClickHouse's host and database)",
    )
    token_file: Location | None = Field(
        None, description="a file that holds the gateway token (default: TFY_API_KEY)"
    )
    catalog: Location | None = Field(None, description="a JSON file with fields of your own")
    prompts: Location | None = Field(
        None, description="a folder with prompts of your own, as Markdown"
    )
    unknown_fields: Literal["refuse", "pass"] = Field(
        "refuse", description="fields the catalog lacks: refuse, or pass on to the gateway"
    )
    timezone: Annotated[str, AfterValidator(_check_zone)] = Field(
        "UTC", description="zone of dates and periods where a call names none"
    )
    budget: int = Field(
        4000, ge=500, le=MOST_TOKENS, description="token limit of an answer, approximate"
    )
    hide_emails: bool = Field(
        False, description="a short hash for each e-mail address in answers and lists"
    )
    hide_emails_key: Location | None = Field(
        None,
        description="a file with the secret of those hashes, the same for all replicas (default:"
        " made once, in the user's state directory)",
    )
    all_row: bool = Field(True, description="ask for the ALL row beside grouped rows")
    ui: bool = Field(
        False, description="an interactive view of each answer, in hosts that show MCP Apps"
    )
    calls: int = Field(6, ge=4, le=31, description="limit of backend calls for one tool call")
    timeout: float = Field(
        60, gt=0, le=600, description="seconds until a query is given up, retries included"
    )
    retries: int = Field(
        3, ge=0, le=20, description="retries after a temporary failure of the gateway"
    )
    upstream_calls: int = Field(
        100, ge=1, le=10_000, description="limit of backend calls in flight"
    )
    caller_calls: int = Field(
        20, ge=1, le=10_000, description="limit of backend calls in flight for one caller"
    )
    cache_bytes: int = Field(
        64_000_000,
        ge=0,
        description="memory limit of cached answers; 0: no cache",
    )
    cache_age_open: float = Field(
        30, ge=0, le=86_400, description="seconds that an answer is cached"
    )
    cache_age_closed: float = Field(
        3600, ge=0, le=604_800, description="the same, where the window has long ended"
    )
    cache_closed_after: float = Field(
        3600, ge=0, le=604_800, description="seconds after its end that a window has long ended"
    )
    max_response_bytes: int = Field(
        8_000_000, ge=1000, description="size limit of a gateway answer"
    )
    row_cap: int = Field(100_000, ge=1, description="row limit of an engine's answer")
    memory: str = Field(
        "2GB",
        pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|KiB|MiB|GiB)$",
        description="memory limit of an engine's query",
    )
    threads: int = Field(2, ge=1, le=64, description="threads of the embedded engine")
    transport: Literal["stdio", "http", "sse"] = Field("stdio", description="how clients connect")
    front: bool = Field(
        True,
        description="answer a client's first requests from kept answers while starting (stdio)",
    )
    host: str = Field("127.0.0.1", description="address to listen on (over HTTP)")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on (over HTTP)")
    allowed_host: Hosts = Field(
        (), description="a Host header to accept besides loopback's; repeat, or separate by commas"
    )
    allowed_origin: Origins = Field(
        (), description="an Origin header to accept besides those of the allowed hosts; likewise"
    )
    cors_origin: Origins = Field(
        (), description="an origin whose pages may call from a browser (CORS); likewise"
    )
    metrics: bool = Field(True, description="serve /metrics (over HTTP), where [ops] is installed")
    tokens: Location | None = Field(
        None,
        description="a TOML file of tokens for an engine (api, http, sse); without it, loopback"
        " only and open to all",
    )
    accept_gateway_bearer: bool = Field(
        False, description="take Authorization: Bearer as the caller's gateway token (http, sse)"
    )
    shared_token: bool = Field(
        False, description="let all callers query with this server's gateway token (http, sse)"
    )
    auth_token_file: Location | None = Field(
        None, description="a TOML file of the bearer tokens that callers bring for --shared-token"
    )
    oauth_issuer: str | None = Field(
        None, description="the identity provider whose tokens authenticate callers (over HTTP)"
    )
    oauth_audience: str | None = Field(
        None, description="the address of this server that those tokens must be issued for"
    )
    oauth_scope: Words = Field((), description="a scope they need; repeat, or separate by commas")
    oauth_subjects: Location | None = Field(
        None, description="a TOML file: whose rights each of their subjects has"
    )
    connections: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="limit of requests at once, and of open streams; the rest get 503 (over HTTP)",
    )
    queries: int = Field(8, ge=1, le=1000, description="queries that run at once (api)")
    patience: float = Field(10, gt=0, le=600, description="seconds a query waits for its turn")
    drain: int = Field(
        10, ge=0, le=600, description="seconds that running calls have to end at a SIGTERM"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", description="what is logged to stderr; INFO logs a line per tool call"
    )
    log_format: Literal["text", "json"] = Field("text", description="log format")
    token: SecretStr | None = Field(None, exclude=True, repr=False)
    """The gateway token; never a flag."""
    clickhouse_password: SecretStr | None = Field(None, exclude=True, repr=False)
    """The password of the user in a `clickhouse://` backend; never a flag."""

    @property
    def is_remote(self) -> bool:
        """Whether the backend is a remote gateway rather than an engine."""
        return (self.backend or "").strip().lower().startswith(REMOTE_SCHEMES)


def flag_names() -> tuple[str, ...]:
    """The names of the settings that are flags."""
    return tuple(name for name, field in Settings.model_fields.items() if not field.exclude)


def read_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings: flags override variables, variables override the `--config` file.

    Raises:
        SettingsError: with every invalid value, or an unknown name.
    """
    # Clients pass `${env:TFY_API_KEY}` literally if the variable is not set in their environment.
    environ = {name: text for name, text in environ.items() if not REFERENCE.fullmatch(text)}
    given = {name: value for name, value in flags.items() if value is not None}
    config = given.pop("config", None) or environ.get(f"{PREFIX}CONFIG")
    merged = {
        **(_read_file(Path(config)) if config else {}),
        **_read_environment(environ),
        **given,
    }
    if merged.get("backend") is None and (host := environ.get(GATEWAY_HOST, "").strip()):
        merged["backend"] = host if "://" in host else f"https://{host}"
    # Secrets are read last and from their own places, so no flag or file key can set them.
    merged["token"] = _read_secret(merged.get("token_file"), "token", GATEWAY_TOKEN, environ)
    merged["clickhouse_password"] = _read_secret(
        environ.get(CLICKHOUSE_PASSWORD_FILE) or None, "password", CLICKHOUSE_PASSWORD, environ
    )
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        wrong = [f"{e['loc'][0]}: {e['msg']}" for e in error.errors()]
        raise SettingsError("; ".join(wrong).replace(": Value error, ", ": ")) from None


def find_secret_files(settings: Settings, environ: Mapping[str, str]) -> list[Path]:
    """The files with secrets that the settings name."""
    password = environ.get(CLICKHOUSE_PASSWORD_FILE)
    return [Path(p) for p in (settings.token_file, password, settings.hide_emails_key) if p]


def warn_of_readers(secrets: Sequence[Path]) -> None:
    """Warn of each of these files that every user of this machine can read."""
    if sys.platform == "win32":  # which has no modes
        return
    for path in secrets:
        with suppress(OSError):
            if path.stat().st_mode & stat.S_IROTH:
                logger.warning("%s can be read by every user of this machine: chmod 600 it", path)


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    names = {f"{PREFIX}{name.upper()}": name for name in flag_names()}
    known = (*names, f"{PREFIX}CONFIG", CLICKHOUSE_PASSWORD, CLICKHOUSE_PASSWORD_FILE)
    for name in environ:
        # A misspelt variable would otherwise be ignored silently.
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(f"unknown variable {name}. {did_you_mean(name, known)}")
    return {setting: environ[name] for name, setting in names.items() if environ.get(name)}


def _read_file(path: Path) -> dict[str, Any]:
    import tomllib  # only for a start with a file

    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the file {path} cannot be read: {error}") from None
    for name in values:
        if name not in flag_names():
            choice = did_you_mean(name, flag_names())
            raise SettingsError(f"{path}: unknown setting {name}. {choice}")
    return values


def _read_secret(file: object, what: str, variable: str, environ: Mapping[str, str]) -> str | None:
    """The secret from the file if one is named, else from the variable.

    Raises:
        SettingsError: if the file cannot be read or is empty; the variable is no fallback then.
    """
    if file is None:
        return environ.get(variable, "").strip() or None
    try:
        secret = Path(str(file)).read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SettingsError(f"the {what} file {file} cannot be read: {reason}") from None
    if not secret:
        raise SettingsError(f"the {what} file {file} is empty")
    return secret


def flag_of(name: str) -> str:
    """`--token-file` for `token_file`."""
    return f"--{name.replace('_', '-')}"
