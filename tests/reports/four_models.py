"""Calls of four models, and what is asked of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.model import Filter, Query

Row = dict[str, Any]
World = Any

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}

REAL: Final = Filter(field_name="virtualModelName", operator="IS_NULL", value=True)
VIRTUAL: Final = Filter(field_name="virtualModelName", operator="IS_NULL", value=False)

NAMES: Final = ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4.1", "anthropic/claude-opus")


def call(model: str | None, slug: str = "ada@example.com", **more: Any) -> Row:
    return {
        "CreatedAt": NOON,
        "ModelName": model,
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": "user",
        "Teams": ["red"],
        "Metadata": {"env": "prod", "customer": "acme"},
        "CostInUSD": None,
        **more,
    }


def where(*filters: tuple[str, str, list[str]]) -> list[dict[str, Any]]:
    return [{"fieldName": f, "operator": o, "value": v} for f, o, v in filters]


def body_of(text: str) -> list[str]:
    """The lines after the header."""
    return text.split("\n")[1:]


def probes(world: World) -> list[Query]:
    """The questions with fewer filters than the asker's, which is sent first."""
    asked = set(world.recorder.sent[0].filters)
    return [query for query in world.recorder.sent if set(query.filters) < asked]


GROUPED: Final = pytest.mark.parametrize("group_by", [[], ["modelName"]], ids=["one", "grouped"])
