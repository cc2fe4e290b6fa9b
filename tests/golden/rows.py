"""The data that is asked: Parquet in the vendor's layout, every value made by arithmetic.

All of it lies before NOW (2026-07-15 09:30 UTC): half of it in the last fortnight, half in the
nine months before, across both changes to and from daylight-saving time.
"""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

_MANY: Final = 2400

_TIME: Final = """
    TIMESTAMPTZ '2026-07-15 09:25:00Z' - to_minutes(CASE WHEN i < {half} THEN i * 16
        ELSE {half} * 16 + (i - {half}) * 310 END) - to_milliseconds((i % 7) * 137)
"""
_SUBJECT: Final = """
    (['ada@example.com', 'bob@example.com', 'ci-bot', 'ada@example.com', 'eve+test@example.org',
      'batch|nightly', 'jürgen@bücher.example', 'ada@example.com', 'o''hara@example.com',
      'bob@example.com'])[1 + (i * 7) % 10]
"""
_SUBJECT_TYPE: Final = """
    CASE WHEN (i * 7) % 10 IN (2, 5) THEN 'virtualaccount' ELSE 'user' END
"""
_TEAMS: Final = """
    CASE (i * 7) % 10 WHEN 0 THEN ['search'] WHEN 1 THEN ['search', 'data'] WHEN 2 THEN ['data']
        WHEN 4 THEN [] WHEN 5 THEN NULL WHEN 6 THEN ['R&D "é"'] ELSE ['search'] END
"""
_METADATA: Final = """
    CASE WHEN i % 6 = 5 THEN NULL WHEN i % 6 = 4 THEN MAP {{'tag': 'a|b'}} ELSE
        MAP {{'environment': (['production', 'staging', 'dev, local'])[1 + (i % 6) % 3],
              'cost_center': 'cc-' || (i * 3) % 4, 'odd "key"': 'v' || i % 2}} END
"""
_COMMON: Final = f"""
    'trace-' || i AS "TraceId", 'span-' || i AS "SpanId", {_TIME} AS "CreatedAt",
    {_SUBJECT} AS "CreatedBySubjectSlug", {_SUBJECT_TYPE} AS "CreatedBySubjectType",
    {_TEAMS} AS "Teams", {_METADATA} AS "Metadata",
    CASE WHEN i % 4 = 0 THEN NULL ELSE 'conv-' || i % 9 END AS "ConversationId"
"""
_MODEL: Final = """
    (['openai/gpt-4o', 'openai/gpt-4o-mini', 'anthropic/claude-sonnet', 'mistral|large "v2"',
      'openai/gpt-4o', '模型-日本', 'o''reilly', NULL, 'openai/gpt-4o', 'anthropic/claude-sonnet',
      'openai/gpt-4o-mini'])[1 + (i * 5) % 11]
"""
_FAILS: Final = "(i % 17 = 3 OR (i < 200 AND i % 11 = 2))"

_MODELS: Final = f"""
    SELECT {_COMMON}, {_MODEL} AS "ModelName",
        CASE WHEN {{virtual}} THEN (['fast', 'smart "auto"', 'a|b'])[1 + (i // 5) % 3] END
            AS "VirtualModelName",
        CASE WHEN i % 13 = 0 THEN 'Embedding' ELSE 'ChatCompletion' END AS "RequestType",
        CASE WHEN {_FAILS} THEN NULL ELSE 100 + (i * 37) % 900 END AS "InputTokens",
        CASE WHEN {_FAILS} OR i % 13 = 0 THEN NULL ELSE 10 + (i * 53) % 400 END AS "OutputTokens",
        120.5 + (i * 97) % 3000 + (i % 8) / 8.0 AS "LatencyMs",
        CASE WHEN i % 3 = 0 THEN NULL ELSE 40 + (i * 31) % 500 + 0.25 END AS "TimeToFirstTokenMs",
        CASE WHEN i % 3 = 0 THEN NULL ELSE 3 + (i * 11) % 40 + 0.125 END AS "InterTokenLatencyMs",
        CASE WHEN i % 4 = 0 THEN NULL ELSE 5 + (i * 13) % 60 END
            AS "TimePerOutputTokenLatencyMs",
        CASE WHEN {_FAILS} OR ((i * 5) % 11 = 3 AND i % 3 = 0) THEN NULL
            ELSE (100 + (i * 37) % 900) * (1 + (i * 5) % 11) / 65536.0
                * (CASE WHEN i < 630 THEN 1.5 ELSE 1 END) END AS "CostInUSD",
        CASE WHEN {_FAILS} THEN ([429, 500, 503])[1 + i % 3] ELSE 200 END AS "HttpStatusCode",
        {_FAILS} AS "IsFailure",
        CASE WHEN {_FAILS} THEN (['RateLimitError', 'Timeout', 'Server "5xx"'])[1 + i % 3] END
            AS "ErrorType",
        (['openai', 'anthropic', 'azure-openai'])[1 + i % 3] AS "ProviderAccountType",
        CASE WHEN i % 10 = 9 THEN NULL ELSE 'provider-' || (i * 5) % 11 END AS "ProviderModelName",
        CASE WHEN i % 2 = 0 THEN (['exact', 'semantic'])[1 + i % 4 // 2] END AS "CacheType",
        CASE WHEN i % 2 = 0 THEN (['Hit', 'miss', 'miss', 'error', 'hit'])[1 + (i // 2) % 5] END
            AS "CacheLookupStatus",
        CASE WHEN i % 2 = 0 THEN (['default', 'team:search'])[1 + (i // 4) % 2] END
            AS "CacheNamespace",
        CASE WHEN i % 2 = 0 THEN 1 + (i * 3) % 20 + 0.5 END AS "CacheLookupLatencyMs",
        CASE WHEN i % 10 IN (0, 8) THEN (i * 7) % 100 / 1024.0 END AS "PotentialCostSavings",
        CASE WHEN i % 5 = 1 THEN (i * 19) % 300 END AS "CacheReadInputTokens",
        CASE WHEN i % 25 = 1 THEN (i * 23) % 200 END AS "CacheCreationInputTokens"
    FROM range({{many}}) AS r(i) WHERE {{where}}
"""
_MCP: Final = f"""
    SELECT {_COMMON}, (['github', 'jira', 'sql|warehouse', NULL])[1 + (i * 3) % 4]
            AS "McpServerName",
        (['tools/call', 'tools/call', 'tools/list', 'initialize'])[1 + i % 4] AS "Method",
        CASE WHEN i % 4 < 2 THEN (['search_code', 'create_issue', 'run "query"', 'list|all',
            'unicode_名前'])[1 + (i * 7) % 5] END AS "PrimitiveName",
        CASE WHEN i % 19 = 0 THEN 500 ELSE 200 END AS "HttpStatusCode",
        15 + (i * 41) % 800 + 0.5 AS "LatencyMs", i % 4 < 2 AND i % 9 = 0
            AS "IsToolCallExecutionError", i % 5 = 0 AS "IsCached"
    FROM range({{many}}) AS r(i)
"""
_GUARDRAIL: Final = f"""
    SELECT {_COMMON}, (['pii-filter', 'toxicity', 'prompt "injection"'])[1 + i % 3]
            AS "GuardrailName",
        CASE WHEN i % 23 = 0 THEN 'error' WHEN i % 7 = 0 THEN 'Blocked' WHEN i % 11 = 0 THEN 'fail'
            ELSE 'pass' END AS "GuardrailResult",
        i % 23 = 0 AS "IsFailure", (['llm_input', 'llm_output', NULL])[1 + (i // 2) % 3]
            AS "AppliedOnEntityScope", 5 + (i * 29) % 200 + 0.75 AS "LatencyMs"
    FROM range({{many}}) AS r(i)
"""
_CONFIG: Final = f"""
    SELECT {_COMMON}, (['loadbalance', 'ratelimit', 'budget'])[1 + i % 3] AS "ConfigType",
        CASE WHEN i % 3 = 0 THEN (['lb-main', 'lb|eu'])[1 + i % 2] END AS "LoadbalanceRuleId",
        CASE WHEN i % 3 = 1 THEN 'rl-' || i % 4 END AS "RatelimitRuleId",
        CASE WHEN i % 3 = 2 THEN 'team "budget"' END AS "BudgetRuleId",
        'openai/gpt-4o' AS "RequestedModel",
        (['openai/gpt-4o', 'azure/gpt-4o', NULL])[1 + (i * 5) % 3] AS "Model",
        CASE WHEN i % 3 = 0 THEN 1 + i % 4 END AS "LoadbalanceTargetAttemptCount",
        CASE WHEN i % 8 = 0 THEN 'fail' WHEN i % 29 = 0 THEN 'blocked' ELSE 'pass' END AS "Status"
    FROM range({{many}}) AS r(i)
"""
_AGENT: Final = f"""
    SELECT {_COMMON}, (['planner', 'research|er', 'コーダー', NULL])[1 + (i * 3) % 4]
            AS "AgentName",
        (['langgraph', 'crewai'])[1 + i % 2] AS "AgentFramework",
        (['a2a', 'http'])[1 + i % 5 // 4] AS "AgentServerType", i % 14 = 0 AS "IsFailure",
        CASE WHEN i % 14 = 0 THEN 502 WHEN i % 9 = 0 THEN NULL ELSE 200 END AS "HttpStatusCode",
        900 + (i * 71) % 9000 + 0.5 AS "LatencyMs"
    FROM range({{many}}) AS r(i)
"""
_OTHERS: Final = {
    "gateway_mcp_metrics": (_MCP, 1500),
    "gateway_guardrail_metrics": (_GUARDRAIL, 1200),
    "gateway_config_metrics": (_CONFIG, 1000),
    "gateway_request_metrics": (_AGENT, 900),
}


def write_data(directory: Path) -> None:
    """All five tables; the models' in two files of hive-partitioned and plain names."""
    models = {
        "part-0.parquet": {"virtual": "false", "where": "true"},
        "part-1.parquet": {"virtual": "true", "where": "i % 5 = 0"},
    }
    for name, parts in models.items():
        _write(directory / "gateway_model_metrics" / name, _MODELS, _MANY, **parts)
    for table, (statement, many) in _OTHERS.items():
        _write(directory / table / "part-0.parquet", statement, many)


def write_part_of_data(directory: Path) -> None:
    """The models' table alone, a few rows; and beside it a file that is no Parquet."""
    parts = {"virtual": "false", "where": "i % 3 = 0"}
    _write(directory / "gateway_model_metrics" / "few.parquet", _MODELS, 60, **parts)
    broken = directory / "gateway_mcp_metrics" / "broken.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"PAR1 this is no Parquet PAR1")


def _write(target: Path, statement: str, many: int, **parts: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    select = statement.format(many=many, half=many // 2, **parts)
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet)")
