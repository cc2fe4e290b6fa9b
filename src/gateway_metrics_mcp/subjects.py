"""Filters on users and virtual accounts that cannot be meant as they stand."""

from __future__ import annotations

from typing import Final

from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.near import quote
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS

FIELDS: Final = frozenset(("userEmail", "virtualAccount"))
_GROUP_OF: Final = {"userEmail": "userEmail", "virtualAccount": "virtualaccount"}
_GROUPS: Final = frozenset(_GROUP_OF.values())
_WHOLE_VALUES: Final = frozenset(("EQUAL", "NOT_EQUAL", "IN", "NOT_IN"))


def check_subjects(query: Query) -> list[Problem]:
    """What is wrong with the filters on subjects, if anything."""
    return [*_check_both(query), *_check_grouped(query), *_check_cut(query)]


def _check_both(query: Query) -> list[Problem]:
    """Users and virtual accounts at once match nothing: a subject is one or the other."""
    positive = [f.field_name for f in query.filters if f.operator not in NEGATIVE_OPERATORS]
    if not set(positive) >= FIELDS:
        return []
    message = (
        "userEmail and virtualAccount together match nothing: a subject is a user or a virtual"
        " account. Ask each alone, or group by userEmail and virtualaccount and filter"
        " createdBySubjectType"
    )
    return [Problem("filters", message)]


def _check_grouped(query: Query) -> list[Problem]:
    """Grouping by one kind of subject keeps that kind alone (R7)."""
    kinds = _GROUPS & set(query.group_by)
    if len(kinds) != 1:
        return []
    (group,) = kinds
    other = "virtualAccount" if group == "userEmail" else "userEmail"
    return [
        Problem(f"filters[{i}]", f"{other} matches nothing in groups by {group}: group by {fits}")
        for i, filter_ in enumerate(query.filters)
        for fits in (_GROUP_OF[other],)
        if filter_.field_name == other and filter_.operator not in NEGATIVE_OPERATORS
    ]


def _check_cut(query: Query) -> list[Problem]:
    """An answer can give the one domain of all addresses once, and each up to its `@`."""
    problems = []
    for index, filter_ in enumerate(query.filters):
        if filter_.field_name not in FIELDS or filter_.operator not in _WHOLE_VALUES:
            continue
        values = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
        cut = [quote(value) for value in values if isinstance(value, str) and value.endswith("@")]
        if cut:
            message = f"{', '.join(cut)} lacks the domain, which a `# ` line of the answer gives"
            problems.append(Problem(f"filters[{index}].value", message))
    return problems
