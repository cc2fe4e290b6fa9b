"""Questions in plain words: their calls answer them, with the figures that the Parquet holds."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import pytest
from tests.questions import (
    agents,
    cache,
    changes,
    cost,
    errors,
    guardrails,
    latency,
    mcp_servers,
    routing,
    two_datasources,
    unknowable,
    values,
    zones,
)
from tests.questions.conftest import Ask, Query
from tests.questions.model import Call, PlainQuestion
from tests.questions.reading import find_row, is_figure, read_rows

QUESTIONS: Final[tuple[PlainQuestion, ...]] = (
    *cost.QUESTIONS,
    *latency.QUESTIONS,
    *errors.QUESTIONS,
    *cache.QUESTIONS,
    *guardrails.QUESTIONS,
    *routing.QUESTIONS,
    *agents.QUESTIONS,
    *mcp_servers.QUESTIONS,
    *values.QUESTIONS,
    *changes.QUESTIONS,
    *zones.QUESTIONS,
    *two_datasources.QUESTIONS,
    *unknowable.QUESTIONS,
)


@pytest.mark.parametrize("question", [pytest.param(q, id=q.slug) for q in QUESTIONS])
async def test_the_calls_answer_the_question(
    question: PlainQuestion, ask: Ask, query: Query
) -> None:
    for call in question.calls:
        text, is_error = await ask(call.tool, dict(call.arguments))
        assert is_error is call.is_error, text
        for pattern in call.says:
            assert re.search(pattern, text, flags=re.IGNORECASE), f"{pattern} not in {text}"
        if call.sql:
            check_figures(call, text, query(call.sql))


def check_figures(call: Call, text: str, expected: list[dict[str, Any]]) -> None:
    """Whether each figure stands in the answer, in its row and column."""
    assert expected
    rows = read_rows(text)
    is_exact = call.arguments.get("format") == "exact"
    for number, figures in enumerate(expected):
        names = [*figures]
        keys = {name: figures[name] for name in names[: call.keys]}
        row = find_row(rows, keys, names[call.keys :])
        for name in names[call.keys :]:
            told = f"{keys} {name}: {row[name]}, expected {figures[name]}\n{text}"
            assert is_figure(row[name], name, figures[name], is_exact=is_exact), told
        if call.leads and number == 0:
            assert rows[0] is row, f"{keys} is not first\n{text}"


def test_there_are_questions_of_every_kind() -> None:
    needs = Counter(question.needs for question in QUESTIONS)
    slugs = Counter(question.slug for question in QUESTIONS)
    assert len(QUESTIONS) >= 40
    assert sum(needs[kind] for kind in ("two datasources", "a zone", "a comparison")) >= 10
    assert needs["unknowable"] >= 6
    assert slugs.most_common(1)[0][1] == 1


def test_every_answer_that_can_be_known_is_checked_by_a_figure() -> None:
    unchecked = [
        question.slug
        for question in QUESTIONS
        if question.needs != "unknowable" and not all(call.sql for call in question.calls)
    ]
    assert unchecked == []
