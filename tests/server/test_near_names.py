"""What people call things: the refusal names what they are called here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"aggregations": ["failureRate"]},
            (
                'aggregations[0]: "failureRate" is not a measure. Did you mean errorRate?'
                " Measures here: "
            ),
        ),
        (
            {"groupBy": ["environment"]},
            (
                'groupBy[0]: "environment" is not a group-by field of modelMetrics. Did you mean'
                " metadata.environment (a metadata key)? Allowed: "
            ),
        ),
        (
            {"datasource": "routing"},
            'datasource: "routing" is unknown. Did you mean configMetrics?',
        ),
    ],
)
async def test_a_usual_word_leads_to_the_name(
    call: Call, arguments: dict[str, Any], said: str
) -> None:
    asked = {"datasource": "modelMetrics", "startTs": "today", **arguments}

    text, is_error = await call("query_distribution", asked)

    assert is_error
    assert f"- {said}" in text
