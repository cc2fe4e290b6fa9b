"""Command lines: questions and their limits, imports, tokens, checks; what `install` would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

Line = Sequence[str]
SHOWN: Final = "terminal"
"""Before the words of a question that is answered on a terminal."""

_COST: Final = ("distribution", "--range", "last 7 days", "--sum", "costInUSD")
_BY_MODEL: Final = (*_COST, "--by", "modelName")
_DAYS: Final = ("timeseries", "--range", "last 3 days", "--interval", "1 day", "--sum", "costInUSD")
_FORMATS: Final = ("table", "aligned", "exact", "csv", "json", "markdown", "explain")

_CONDITIONS: Final = (
    "modelName = openai/gpt-4o", "team in search, data", "latencyMs > 500",
    "modelName contains gpt",
    "virtualModelName is not null", "modelName != 'o''reilly'", 'modelName == "模型-日本"',
    "latencyMs between 500 and 900", "modelName not in openai/gpt-4o, o'reilly", "team = search",
    'metadata.environment = "dev, local"', "modelName =~ gpt", "latencyMs => 5", "modelName",
    "modelName = a or modelName = b", "model = a", "latencyMs > fast", "", "isFailure = true",
)  # fmt: skip

_LIMITS: Final = (
    "sumCostInUSD > 100000", "sumCostInUSD > 1", "any sumCostInUSD > 5", "any sumCostInUSD > 5000",
    "total < 10", "sumCostInUSD", "cost > 5", "sumCostInUSD > 10%", "any modelName > 5",
)  # fmt: skip


def list_asked() -> Iterator[Line]:
    """The words after `ask`."""
    for format_ in _FORMATS:
        yield (*_BY_MODEL, "--format", format_)
        yield (*_COST, "--format", format_)
        yield (*_DAYS, "--format", format_)
        yield (*_BY_MODEL, "--format", format_, "--range", "2025-01")
    for format_ in ("csv", "json", "table", "markdown"):
        yield (*_BY_MODEL, "--compare", "previous", "--format", format_)
        yield ("values", "team", "--format", format_)
        yield (*_DAYS, "--by", "team", "--format", format_, "--limit", "2")
    yield ("values", "modelName", "--search", "gpt", "--format", "aligned")
    yield ("values", "metadata", "--range", "2025-01", "--fail-if-empty")
    yield ("fields",)
    yield ("fields", "cacheMetrics", "--format", "markdown")
    yield ("fields", "--datasource", "mcpMetrics")
    for words in (_COST, _BY_MODEL, _DAYS, ("values", "team"), ("fields",)):
        yield (SHOWN, *words)
    yield (SHOWN, *_DAYS, "--by", "team", "--compare", "1 day")
    yield (SHOWN, *_BY_MODEL, "--by", "team", "--order", "-sumCostInUSD", "--limit", "4")
    for condition in _CONDITIONS:
        yield (*_COST, "--where", condition)
    for limit in _LIMITS:
        yield (*_BY_MODEL, "--format", "csv", "--limit", "2", "--fail-if", limit)
    yield from _other_questions()


def _other_questions() -> Iterator[Line]:
    yield (*_DAYS, "--fail-if", "any sumCostInUSD > 5")
    yield (*_COST, "--measure", "errorRate,costPerRequest", "--fail-if", "errorRate > 1%")
    yield (*_COST, "--compare", "previous", "--fail-if", "sumCostInUSD_change% > 10%")
    yield (*_COST, "--fail-if", "total > 1", "--fail-if", "sumCostInUSD > 1", "--format", "json")
    yield (*_COST, "--fail-if", "total > 1", "--format", "explain")
    yield (*_COST[:1], "--range", "2025-01", "--fail-if-empty")
    yield (*_COST[:1], "--range", "2025-01", "--fail-if-empty", "--format", "csv")
    yield (*_COST[:1], "--range", "2025-01", "--sum", "costInUSD", "--fail-if", "sumCostInUSD > 1")
    yield (*_BY_MODEL, "--by", "team,userEmail", "--budget", "500")
    yield (*_BY_MODEL, "--all_row", "false")
    yield (*_BY_MODEL, "--all-row", "false")
    yield (*_COST, "--hide-emails", "true", "--by", "userEmail", "--hide-emails-key", "KEY")
    yield ("distribution", "--start", "2026-07-01", "--end", "2026-07-03", "--p95", "latencyMs")
    yield ("distribution", "--range", "today", "--timezone", "Asia/Tokyo", "--count-distinct",
           "modelName")  # fmt: skip
    yield from (
        (), ("distributin",), ("distribution",), ("distribution", "--rang", "today"),
        ("distribution", "--range", "lst week", "--sum", "cost", "--by", "model", "--where", "x"),
        (*_COST, "--format", "jsn"), (*_COST, "--range", "today", "--start", "today"),
        (*_COST, "extra"), (*_COST, "--limit", "0"), (*_COST, "--interval", "1 day"),
        ("values",), ("values", "httpStatusCode"), ("values", "modelName", "--format", "exact"),
        ("fields", "modelMetric"), (*_COST, "--budget", "5"), (*_COST, "--timeout", "soon"),
        (*_COST, "--order", "cost"), (*_COST, "--backend", "NOWHERE"),
        (*_COST, "--backend", "https://user:secret@example.com"),
    )  # fmt: skip


OTHERS: Final[tuple[Line, ...]] = (
    ("--version",),
    ("check",),
    ("check", "--backend", "PART"),
    ("check", "--backend", "NOWHERE"),
    ("check", "--backend", "https://user:secret@example.com"),
    ("check", "--budgt", "5"),
    ("chek",),
    ("DATA",),
    ("serve", "ask"),
    ("api", "--host", "metrics.example.com"),
    ("--timezone", "Berlin"),
    ("--transport", "http", "--host", "metrics.example.com"),
    ("--config", "NOWHERE"),
    ("token", "--subject", "ada@example.com"),
    ("token", "--subject", "ci|bot", "--type", "virtualaccount", "--team", 'a "b"', "--team", "c"),
    ("token", "--subject", "root", "--tenant-admin", "--expires", "90d"),
    ("token", "--subject", "root", "--expires", "12 hours"),
    ("token", "--subject", "root", "--expires", "soon"),
    ("token", "--subject", ""),
    ("token",),
)
"""The words of other commands; `ask` and the backend are not added to them."""

_INTO: Final = ("--into", "INTO")
IMPORTS: Final[tuple[Line, ...]] = (
    ("LOGS/spend.jsonl", "--preset", "litellm", *_INTO),
    ("LOGS/spend.jsonl", "--preset", "litellm", *_INTO),
    ("LOGS/spend.jsonl", "--preset", "litellm", *_INTO, "--again"),
    ("LOGS/bad.jsonl", "--preset", "litellm", *_INTO),
    ("LOGS/bad.jsonl", "--preset", "litellm", *_INTO, "--strict", "--again"),
    ("LOGS/traces.jsonl", "--preset", "otel-genai", *_INTO),
    ("LOGS/spend.jsonl", "--preset", "otel-genai", *_INTO),
    ("LOGS/own.csv", *_INTO),
    ("LOGS/own.csv", *_INTO, "--timezone", "UTC"),
    ("LOGS/own.csv", *_INTO, "--timezone", "UTC", "--again", "--map",
     "CreatedAt=when,ModelName=model,InputTokens=in,OutputTokens=out", "--prices",
     "LOGS/prices.toml", "--set", "CreatedBySubjectSlug=importer"),
    ("LOGS/own.csv", *_INTO, "--map", "Created=when", "--set", "Nothing=1"),
    ("LOGS/own.csv", *_INTO, "--map", "CreatedAt=wen", "--timezone", "Mars"),
    ("LOGS/none*.csv", *_INTO),
    ("LOGS/own.csv", *_INTO, "--tabel", "x"),
    ("LOGS/own.csv", *_INTO, "--preset", "litelm"),
    ("LOGS/own.csv", *_INTO, "--prices", "LOGS/own.csv"),
    ("LOGS/spend.jsonl", *_INTO, "--table", "gateway_mcp_metrics"),
    ("LOGS/own.csv",),
)  # fmt: skip
"""The words after `import`, in this order: what was brought before is known later."""

_REMOTE: Final = ("--backend", "https://gateway.example.com")
_SECRET: Final = {"TFY_API_KEY": "a-secret-token"}
INSTALLS: Final[tuple[tuple[str, Mapping[str, str], Line], ...]] = (
    *(
        (platform, {}, ("--client", client, "--backend", "DATA", "--dry-run"))
        for client in ("claude-desktop", "claude-code", "cursor", "vscode", "print")
        for platform in (("linux", "darwin") if client != "print" else ("linux",))
    ),
    *(
        ("linux", _SECRET, ("--client", client, *_REMOTE, "--dry-run", "--uvx"))
        for client in ("claude-desktop", "claude-code", "cursor", "vscode", "print")
    ),
    ("linux", _SECRET, ("--client", "cursor", *_REMOTE, "--dry-run", "--write-token")),
    ("linux", {}, ("--client", "cursor", *_REMOTE, "--dry-run")),
    ("linux", {}, ("--client", "cursor", "--file", "HOME/with.json", "--backend", "DATA",
                   "--dry-run", "--timezone", "Europe/Berlin", "--budget", "2000")),
    ("linux", {}, ("--client", "cursor", "--file", "HOME/with.json", "--remove", "--dry-run")),
    ("linux", {}, ("--client", "cursor", "--file", "HOME/broken.json", "--dry-run", "--backend",
                   "DATA")),
    ("linux", {}, ("--client", "cursor", "--remove", "--dry-run")),
    ("linux", {}, ("--client", "print", "--remove")),
    ("linux", {}, ("--client", "zed", "--backend", "DATA")),
    ("linux", {}, ("--client", "cursor", "--backnd", "DATA")),
    ("linux", {}, ("--client", "cursor", "--name", "a b", "--backend", "DATA")),
    ("linux", {}, ("--client", "cursor", "--env", "NOPE", "--backend", "DATA", "--dry-run")),
    ("linux", {}, ("--client", "cursor", "--timezone", "Berlin", "--backend", "DATA", "--dry-run")),
)  # fmt: skip
"""The system, variables of its environment, and the words after `install`."""
