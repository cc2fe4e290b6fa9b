"""Rows, a caller and a question to a tool, by chance, so that every kind of note can be due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar

from gateway_metrics_mcp.query.model import Caller

T = TypeVar("T")
Row = dict[str, Any]
Condition = tuple[str, str, Any]

NOWS: Final = (
    datetime(2026, 7, 15, 9, 30, tzinfo=UTC),
    datetime(2026, 7, 3, 0, 4, tzinfo=UTC),
    datetime(2026, 11, 3, 15, 20, 7, tzinfo=UTC),  # two days after New York's clocks changed
)
ADMIN: Final = Caller(subject="root@example.com", subject_type="user", is_tenant_admin=True)
CALLERS: Final = (
    ADMIN,
    Caller(subject="ada@example.com", subject_type="user", teams=frozenset(("search",))),
    Caller(subject="ci-bot", subject_type="virtualaccount"),
    Caller(subject="nobody@example.com", subject_type="user"),
)
SUBJECTS: Final = (
    ("ada@example.com", "user"),
    ("bob@example.com", "user"),
    ("eve@example.com", "user"),
    ("ci-bot", "virtualaccount"),
    ("importer", "virtualaccount"),
    ("ci-bot", None),
)
TEAMS: Final = ("search", "data", "growth")
MODELS: Final = ("openai/gpt-4o", "openai/gpt-4o-mini", "claude", 'odd | "name"', None)
KEYS: Final = ("env", "customer", "Cost.Center")
ZONES: Final = ("Europe/Berlin", "America/New_York", "Asia/Kolkata")
TABLES: Final = {
    "modelMetrics": "gateway_model_metrics",
    "cacheMetrics": "gateway_model_metrics",
    "mcpMetrics": "gateway_mcp_metrics",
    "guardrailMetrics": "gateway_guardrail_metrics",
    "configMetrics": "gateway_config_metrics",
    "agentMetrics": "gateway_request_metrics",
}
GROUPS: Final = {
    "modelMetrics": ("modelName", "modelName", "virtualModel", "errorCode"),
    "cacheMetrics": ("modelName", "cacheLookupStatus", "virtualModel"),
    "mcpMetrics": ("mcpServerName", "toolName", "method"),
    "guardrailMetrics": ("guardrailName", "guardrailResult"),
    "configMetrics": ("configType", "status", "budgetRuleId"),
    "agentMetrics": ("agentName", "isFailure"),
}
VALUES: Final = {
    "modelMetrics": (
        *("sum costInUSD", "sum costInUSD", "sum inputTokens", "p95 latencyMs", "avg latencyMs"),
        *("count inputTokens", "errorRate", "costPerRequest", "costPerMillionTokens", "share"),
        *("tokensPerRequest", "outputTokensPerSecond", "countDistinct modelName", "max latencyMs"),
        *("sum timeToFirstTokenMs", "count virtualModel"),
    ),
    "cacheMetrics": ("cacheHitRate", "sum potentialCostSavings", "sum costInUSD", "share"),
    "mcpMetrics": ("p95 latencyMs", "share", "sum latencyMs"),
    "guardrailMetrics": ("guardrailBlockRate", "guardrailErrorRate", "avg latencyMs", "share"),
    "configMetrics": ("ruleFailureRate", "sum loadbalanceTargetAttemptCount", "share"),
    "agentMetrics": ("errorRate", "p50 latencyMs", "share"),
}
SUBJECT_GROUPS: Final = ("team", "team", "userEmail", "virtualaccount", "createdBySubjectType")


@dataclass(frozen=True)
class Case:
    """A question, who asks it, of what rows, and under which settings."""

    now: datetime
    rows: tuple[Row, ...]
    caller: Caller
    tool: str
    arguments: dict[str, Any]
    conditions: tuple[Condition, ...]
    is_by_day: bool
    """Whether each day's rows are in a folder of their own."""
    settings: dict[str, Any]

    @property
    def datasource(self) -> str:
        name: str = self.arguments["datasource"]
        return name

    @property
    def table(self) -> str:
        return TABLES[self.datasource]


class Chance(Random):
    """A source of chance."""

    def is_one_in(self, number: int) -> bool:
        return self.randrange(number) == 0

    def some_of(self, values: Sequence[T], most: int) -> list[T]:
        return list(dict.fromkeys(self.choice(values) for _ in range(self.randint(0, most))))


def draw_case(seed: int) -> Case:
    """The case of a seed."""
    chance = Chance(seed)
    now = chance.choice(NOWS)
    datasource = chance.choice(["modelMetrics"] * 6 + list(TABLES))
    days = chance.choice([1, 2, 7, 30])
    rows = _draw_rows(chance, datasource, now, days)
    tool = chance.choice(["query_distribution"] * 4 + ["query_timeseries"] * 3 + ["list_values"])
    conditions = _draw_conditions(chance, datasource)
    arguments = {"datasource": datasource, **_draw_window(chance, now, days)}
    if tool == "list_values":
        arguments["field"] = chance.choice(
            [*GROUPS[datasource], *SUBJECT_GROUPS, "metadata.env", "metadata.Env", "metadata"]
        )
        if chance.is_one_in(3):
            arguments["search"] = chance.choice(["gpt", "GPT-4", "ada", "sear", "data", "xyz"])
        conditions = ()
    else:
        arguments |= _draw_shape(chance, tool, datasource)
        filters = [_write_condition(one) for one in conditions]
        arguments |= {"filters": filters} if filters else {}
    if tool != "query_timeseries" and chance.is_one_in(5):
        arguments |= {"limit": chance.randint(1, 3), "offset": chance.randint(0, 3)}
    return Case(
        now=now,
        rows=rows,
        caller=chance.choice([*[ADMIN] * 6, *CALLERS, CALLERS[1]]),
        tool=tool,
        arguments=arguments,
        conditions=conditions,
        is_by_day=chance.is_one_in(3),
        settings={
            "budget": chance.choice([4000, 4000, 4000, 12000, 600, 500]),
            "all_row": not chance.is_one_in(6),
            "calls": chance.choice([6, 6, 6, 4, 12]),
            "ui": chance.is_one_in(4),
        },
    )


# --- the rows ---


def _draw_rows(chance: Chance, datasource: str, now: datetime, days: int) -> tuple[Row, ...]:
    """Rows around the windows; now and then they begin late, or have days without any."""
    span = timedelta(days=days * chance.choice([0.6, 1.2, 2.2, 2.2, 2.2, 4]))
    moments = [now - span * chance.random() for _ in range(chance.choice([1, 2, 3, 8]))]
    count = chance.choice([0, 1, 4, 20, 30, 40, 40, 60])
    few = chance.is_one_in(4)
    pools = {
        "subjects": chance.sample(SUBJECTS, chance.randint(1, len(SUBJECTS))),
        "models": chance.sample(MODELS, chance.randint(1, len(MODELS))),
        "teams": chance.sample(TEAMS, chance.randint(1, len(TEAMS))),
        "most_teams": [chance.choice([0, 1, 1, 3])],
        "costs": chance.choice([[0.25], [0.0], [None], [0.1, 1 / 3, None], [0.5, 0.0, 12.5]]),
        "failures": chance.choice([[False], [None], [True, False], [True, False, None]]),
    }
    rows = []
    for _ in range(count):
        created = chance.choice(moments) if few else now - span * chance.random()
        created = min(created.replace(microsecond=0), now - timedelta(seconds=1))
        rows.append({"CreatedAt": created, **_draw_row(chance, datasource, pools)})
    if len(rows) > 1 and chance.is_one_in(2):  # at the start of a window, and of an earlier one
        midnight = now.replace(hour=0, minute=0, second=1)
        rows[0]["CreatedAt"] = midnight - timedelta(days=2 * days)
        rows[1]["CreatedAt"] = midnight.replace(day=1)
    return tuple(rows)


def _draw_row(chance: Chance, datasource: str, pools: dict[str, Any]) -> Row:
    slug, kind = chance.choice(pools["subjects"])
    teams = chance.some_of(pools["teams"], pools["most_teams"][0])
    row: Row = {
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": kind,
        "Teams": chance.choice([teams, teams, teams, None]),
        "Metadata": {key: chance.choice(["prod", "dev", "a b"]) for key in chance.some_of(KEYS, 2)},
        "LatencyMs": chance.choice([10.0, 125.5, 1 / 3, None]),
    }
    return row | _draw_columns(chance, datasource, pools)


def _draw_columns(chance: Chance, datasource: str, pools: dict[str, Any]) -> Row:
    if datasource in ("modelMetrics", "cacheMetrics"):
        return {
            "ModelName": chance.choice(pools["models"]),
            "VirtualModelName": chance.choice(
                [None, None, None, None, None, None, "cheap-chat", "router"]
            ),
            "InputTokens": chance.choice([0, 10, 250, None]),
            "OutputTokens": chance.choice([0, 3, 90, None]),
            "CostInUSD": chance.choice(pools["costs"]),
            "IsFailure": chance.choice(pools["failures"]),
            "ErrorType": chance.choice([None, None, "RateLimitError"]),
            "TimeToFirstTokenMs": chance.choice([None, None, None, 5.0]),
            "CacheLookupStatus": chance.choice([None, "hit", "miss", "HIT", "odd"]),
            "PotentialCostSavings": chance.choice([None, 0.5]),
        }
    if datasource == "mcpMetrics":
        return {
            "McpServerName": chance.choice(["github", "jira"]),
            "PrimitiveName": chance.choice(["run_query", "search", None]),
            "Method": chance.choice(["tools/call", "tools/list"]),
        }
    if datasource == "guardrailMetrics":
        return {
            "GuardrailName": chance.choice(["pii", "topic"]),
            "GuardrailResult": chance.choice(["pass", "blocked", "error", "flagged", None]),
        }
    if datasource == "configMetrics":
        return {
            "ConfigType": chance.choice(["budget", "ratelimit"]),
            "Status": chance.choice(["pass", "fail", None]),
            "BudgetRuleId": chance.choice([None, "team-monthly"]),
            "LoadbalanceTargetAttemptCount": chance.choice([None, 1, 2]),
        }
    return {
        "AgentName": chance.choice(["triage", None]),
        "IsFailure": chance.choice(pools["failures"]),
    }


# --- the question ---


def _draw_window(chance: Chance, now: datetime, days: int) -> dict[str, Any]:
    day = timedelta(days=1)
    today = now.replace(hour=0, minute=0, second=0)
    start = today - day * days
    words = {
        1: ["today", "yesterday", "last 24 hours", "now-1d"],
        2: ["last 2 days", "now-2d", "now-2d/d"],
        7: ["this week", "last 7 days", "now-7d", "now-1w/w"],
        30: ["this month", "this month", "last month", "last 30 days", f"{now:%Y-%m}"],
    }
    forms: list[dict[str, Any]] = [
        {"startTs": _day(start), "endTs": _day(start + day * chance.choice([days, days, 60]))},
        {"startTs": _instant(start + 0.37 * day), "endTs": _instant(start + (days - 0.1) * day)},
        {"startTs": _instant(now - day * days), "endTs": _instant(now - timedelta(minutes=5))},
        *({"startTs": chance.choice(words[days])} for _ in range(3)),
    ]
    window = chance.choice(forms)
    if chance.is_one_in(4):
        window["timezone"] = chance.choice(ZONES)
    return window


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _draw_shape(chance: Chance, tool: str, datasource: str) -> dict[str, Any]:
    """Values, groups, and what one of the query tools has alone."""
    groups = chance.some_of(
        [*GROUPS[datasource], *SUBJECT_GROUPS, "metadata.env", "metadata.Env"], 2
    )
    shape: dict[str, Any] = {
        "aggregations": chance.some_of(VALUES[datasource], 3),
        "groupBy": groups if chance.is_one_in(2) else groups[:1],
        "format": chance.choice(["table", "table", "exact", "json"]),
    }
    if datasource == "modelMetrics" and chance.is_one_in(3):
        shape["aggregations"] = list(dict.fromkeys([*shape["aggregations"], "sum costInUSD"]))
    if tool == "query_timeseries":
        shape["interval"] = chance.choice(["1 day", "6 hours", "1 week", "1 month", ""])
        shape = {name: value for name, value in shape.items() if value != ""}
        if chance.is_one_in(4):
            shape["aggregations"].append("rateSum inputTokens")
            if datasource not in ("modelMetrics", "cacheMetrics"):
                shape["aggregations"].pop()
    elif chance.is_one_in(2):
        shape["compareTo"] = chance.choice(
            ["previous", "previous", "previous", "1 day", "1 week", "1 month", "last month"]
        )
    return shape


# --- its filters ---


def _draw_conditions(chance: Chance, datasource: str) -> tuple[Condition, ...]:
    """Up to three conditions, with values of rows, misspelt ones, and ones that nobody has."""
    if not chance.is_one_in(3):
        return ()
    forms: list[Condition] = [
        ("userEmail", "IN", ["ada@example.com", "bob@exmple.com"]),
        ("userEmail", "IN", ["ada@example.com"]),
        ("userEmail", "NOT_IN", ["bob@example.com"]),
        ("virtualAccount", "IN", ["ci-bot"]),
        ("virtualAccount", "NOT_IN", ["ci-bot"]),
        ("team", "ARRAY_HAS_ANY", [chance.choice([*TEAMS, "serch"])]),
        ("team", "ARRAY_HAS_ANY", ["search", "datta"]),
        ("team", "ARRAY_HAS_NONE", ["search"]),
        ("metadata.env", "IN", [chance.choice(["prod", "prd", "zzz"])]),
        ("metadata.env", "NOT_IN", ["prod"]),
        ("metadata.Env", "IN", ["prod"]),
        ("metadata.env", "STRING_CONTAINS", "ro"),
    ]
    if datasource in ("modelMetrics", "cacheMetrics"):
        forms += [
            ("modelName", "IN", ["claude"]),
            ("modelName", "IN", ["openai/gpt-4o", "gpt-4o-mini"]),
            ("modelName", "IN", [chance.choice(["gpt-4o", "cluade", "qqq"])]),
            ("modelName", "IN", ["claude", "openai/gpt-4o"]),
            ("modelName", "STRING_CONTAINS", chance.choice(["gpt", "llama"])),
            ("modelName", "NOT_IN", ["claude"]),
            ("virtualModelName", "IN", [chance.choice(["router", "roter"])]),
            ("createdBySubjectType", "IN", [chance.choice(["user", "virtualaccount"])]),
            ("inputTokens", "GREATER_THAN", chance.choice([5, 100_000])),
            ("outputTokens", "GREATER_THAN", chance.choice([5, 100_000])),
            ("errorCode", "IN", ["RateLimitError"]),
            ("isFailure", "EQUAL", True),
        ]
    if datasource == "mcpMetrics":
        forms += [("method", "IN", ["tools/call"]), ("toolName", "IN", ["serch"])]
    if datasource == "agentMetrics":
        forms += [("agentName", "IN", [chance.choice(["triage", "triag"])])]
    if datasource == "configMetrics":
        forms += [("budgetRuleId", "IN", ["team-monthly"])]
    return tuple(chance.sample(forms, chance.choice([1, 1, 2, 3])))


def _write_condition(condition: Condition) -> dict[str, Any]:
    """As the tools take it: texts in a list."""
    field, operator, value = condition
    values = value if isinstance(value, list) else [value]
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    return {"fieldName": field, "operator": operator, "value": texts}
