"""Small files of other origins, for imports; and what clients have in their configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_SPENT: Final[dict[str, Any]] = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "spend": 0.00345,
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "startTime": "2026-07-10 12:00:00.25",
    "endTime": "2026-07-10 12:00:01.75",
    "completionStartTime": "2026-07-10 12:00:00.75",
    "model": "gpt-4o-2024-08-06",
    "model_group": "gpt-4o",
    "custom_llm_provider": "openai",
    "user": "someone@example.com",
    "metadata": {"user_api_key_alias": "batch", "user_api_key_team_alias": "search"},
    "cache_hit": "False",
    "cache_key": "Cache OFF",
    "request_tags": ["nightly"],
    "team_id": "team-1",
    "session_id": "session-1",
    "status": "success",
}
_OWN: Final = """\
when,model,in,out,comment
2026-07-09 08:00:00,gpt-4o,100,20,first
2026-07-09 09:30:00,gpt-4o-mini,50,5,"a, b"
2026-07-10 10:00:00,nameless,7,1,
not a time,gpt-4o,1,1,bad
2026-07-10 11:00:00,gpt-4o,many,1,bad
"""
_PRICES: Final = """\
[[price]]
model = "gpt-4o*"
input = 2.5
output = 10
"""


def write_logs(directory: Path) -> None:
    """A spend log, one with bad rows, traces, a CSV of one's own, and prices."""
    directory.mkdir()
    spent = [_SPENT | {"request_id": f"chatcmpl-{n}", "prompt_tokens": n * 10} for n in range(6)]
    tool = _SPENT | {"request_id": "tool", "call_type": "call_mcp_tool"}
    bad = [
        _SPENT | {"request_id": "x", "prompt_tokens": "many"},
        _SPENT | {"request_id": "y", "startTime": "never"},
        _SPENT | {"request_id": "z"},
    ]
    _write_lines(directory / "spend.jsonl", [*spent, tool])
    _write_lines(directory / "bad.jsonl", bad)
    _write_lines(directory / "traces.jsonl", [_trace(n) for n in range(4)])
    (directory / "own.csv").write_text(_OWN, "utf-8")
    (directory / "prices.toml").write_text(_PRICES, "utf-8")


def write_home(directory: Path) -> None:
    """A home in which a client has servers already, and one file that cannot be read."""
    directory.mkdir()
    ours = {"command": "gateway-metrics-mcp", "args": ["--backend", "/old"], "env": {"LANG": "C"}}
    servers = {"other": {"command": "other"}, "gateway-metrics": ours}
    (directory / "with.json").write_text(json.dumps({"mcpServers": servers}, indent=2), "utf-8")
    (directory / "broken.json").write_text('{"mcpServers": ', "utf-8")


def _write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), "utf-8")


def _trace(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {
        "gen_ai.operation.name": "chat" if number else "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100 + number,
        "gen_ai.usage.output_tokens": 30,
    }
    span = {
        "traceId": f"5b8efff798038103d269b633813fc60{number}",
        "spanId": f"eee19b7ec3c1b00{number}",
        "startTimeUnixNano": f"178368480{number}123456789",
        "endTimeUnixNano": f"178368480{number + 1}623456789",
        "attributes": [_attribute(name, value) for name, value in names.items()],
        "status": {"code": 2} if number == 3 else {},
    }
    resource = {"attributes": [_attribute("service.name", "shop")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


def _attribute(key: str, value: object) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}
