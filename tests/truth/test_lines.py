"""Each note of an answer is true of the rows that it speaks of, and none that is due is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.truth.answers import Answer, Truth
from tests.truth.cases import ADMIN, Case, draw_case
from tests.truth.kinds import INSTEAD, KINDS, check_header
from tests.truth.stage import Stage, open_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("truth")) as stage:
        yield stage


def find_lies(truth: Truth, lines: list[str]) -> list[str]:
    """The lines that are of no known kind, or untrue, or missing."""
    wrong, said = [], set()
    for line in lines:
        found = [(k, m) for k in KINDS if (m := re.fullmatch(k.pattern, line)) is not None]
        if not found:
            wrong.append(f"unknown: {line}")
        for one, match in found[:1]:
            said.add(one.name)
            if not one.is_true(truth, match):
                wrong.append(f"untrue ({one.name}): {line}")
    if any("more notes (token budget" in line for line in lines):
        return wrong
    if truth.surface == "text":
        for one in KINDS:
            names = INSTEAD.get(one.name, (one.name,))
            if one.is_due(truth) and not said.intersection(names):
                wrong.append(f"missing ({one.name})")
    return wrong


def check(stage: Stage, case: Case, *, over_gateway: bool) -> list[str]:
    """What is wrong in the answer to a case."""
    answer = stage.ask(case, over_gateway=over_gateway)
    if isinstance(answer, str) or answer.is_without_window:
        return []
    surface = "json" if answer.body else "text"
    truth = Truth(case, answer, is_gateway=over_gateway, surface=surface)
    wrong = find_lies(truth, answer.lines) + check_header(truth)
    drawn = [line for line in answer.subtitle if is_known(line)]
    wrong += find_lies(replace(truth, surface="picture"), drawn)
    for line in answer.lines:
        if match := re.fullmatch(r"all .+ as CSV: resource (\S+)", line):
            wrong += check_resource(stage, truth, match[1])
        if match := re.fullmatch(r"and (\d+) more notes \(token budget too small\)", line):
            whole = ask_in_full(stage, truth)
            said = [one for one in whole.lines if one not in answer.lines]
            hidden = [one for one in said if not re.match("(all rows: |.* equals total )", one)]
            wrong += [] if len(hidden) == int(match[1]) or surface == "json" else [line, *hidden]
        if "cannot be computed here: ask" in line:
            wrong += check_way(stage, truth, line)
    if surface == "text" and case.arguments.get("format") == "table" and not truth.is_empty:
        wrong += check_rounding(stage, truth)
    return wrong


def is_known(line: str) -> bool:
    return any(re.fullmatch(one.pattern, line) for one in KINDS)


def ask_in_full(stage: Stage, truth: Truth, **changes: Any) -> Answer:
    """The same question with room for all."""
    case = replace(truth.case, settings={**truth.case.settings, "budget": 12_000})
    answer = stage.ask(case, over_gateway=truth.is_gateway, **changes)
    assert isinstance(answer, Answer)
    return answer


def check_resource(stage: Stage, truth: Truth, uri: str) -> list[str]:
    """Whether the CSV has all rows, and true notes."""
    case = truth.case
    if case.caller != ADMIN and not truth.is_gateway:
        return []  # resources are read by the local caller alone
    text, notes = stage.read(case, uri, over_gateway=truth.is_gateway)
    count = len(truth.keys) * (len(truth.edges) - 1 if truth.is_series else 1)
    rows = len(text.rstrip("\n").split("\n")) - 1
    wrong = [] if rows == count else [f"{rows} rows in the resource, not {count}"]
    header, *lines = notes
    answer = Answer(text, header, lines)
    of_resource = replace(truth, answer=answer, surface="csv")
    return wrong + find_lies(of_resource, lines)


def check_way(stage: Stage, truth: Truth, line: str) -> list[str]:
    """Whether the advice leads to the cost drivers."""
    changes: dict[str, Any] = {}
    if "sum costInUSD alone" in line:
        changes["aggregations"] = ["sum costInUSD"]
    if "without group-by" in line:
        changes["groupBy"] = []
    lines = ask_in_full(stage, truth, format="table", **changes).lines
    return [] if any(one.startswith("of the ") for one in lines) else [f"no help: {line}"]


def check_rounding(stage: Stage, truth: Truth) -> list[str]:
    """Whether the line on rounded decimals stands exactly where a decimal is rounded."""
    answer = truth.answer
    exact = ask_in_full(stage, truth, format="exact")
    is_said = "decimals rounded (format exact: all digits)" in answer.lines
    pairs = [(answer.pairs[n], exact.pairs.get(n, answer.pairs[n])) for n in answer.pairs]
    for (_, heading, rows), (_, wanted, digits) in zip(answer.tables, exact.tables, strict=False):
        if heading != wanted or any(row[0].startswith("other (") for row in (*rows, *digits)):
            return []
        if rows[-1][0] == "ALL":
            pairs += zip(rows[-1], digits[-1], strict=True)
        pairs += [
            p
            for ours, theirs in zip(rows, digits, strict=False)
            for p in zip(ours, theirs, strict=True)
        ]
    is_due = any(is_shortened(*pair) for pair in pairs)
    return [] if is_said == is_due else [f"decimals rounded: said {is_said}, so {is_due}"]


def is_shortened(shown: str, exact: str) -> bool:
    if not re.fullmatch(r"[-+]?[\d.]+(e[-+]\d+)?", shown) or not re.match(r"[-+]?\d", exact):
        return False
    return float(shown) != float(exact)


@given(seed=st.integers(min_value=0, max_value=2**32))
def test_each_line_is_true_and_none_is_missing(stage: Stage, seed: int) -> None:
    case = draw_case(seed)
    stage.fill(case)
    for over_gateway in (False, True):
        assert check(stage, case, over_gateway=over_gateway) == [], case


@given(seed=st.integers(min_value=0, max_value=2**32), seconds=st.integers(1, 29))
@settings(max_examples=max(settings().max_examples // 4, 1))
def test_the_age_of_a_kept_answer_is_said(stage: Stage, seed: int, seconds: int) -> None:
    case = draw_case(seed)
    stage.fill(case)
    answer = stage.ask_twice(case, timedelta(seconds=seconds))
    if isinstance(answer, str) or answer.is_without_window:
        return
    if answer.windows[0][1] > case.now:  # of another time: asked again
        return

    ages = [line for line in answer.lines if line.startswith("from the cache")]
    is_cut = any("more notes" in line for line in answer.lines)
    assert ages == [f"from the cache, {seconds} s old"] or is_cut
