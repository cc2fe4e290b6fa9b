"""Filters on subjects that cannot be meant are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Filter
from gateway_metrics_mcp.reports.request import ParserOptions, read_distribution


def filter_on(field: str, operator: str, *values: str) -> dict[str, Any]:
    return {"fieldName": field, "operator": operator, "value": list(values)}


def read(catalog: Catalog, *filters: dict[str, Any]) -> tuple[Filter, ...]:
    """The filters that are sent, but for the one on virtual models."""
    now = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
    arguments = {"startTs": "now-1d", "filters": list(filters)}
    return read_distribution(arguments, ParserOptions(catalog), now).query.filters[:-1]


def test_an_address_that_an_answer_gave_without_its_domain_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidQueryError, match='"analyst-07@" lacks the domain'):
        read(catalog, filter_on("userEmail", "IN", "analyst-07@", "analyst-08@example.com"))


def test_a_part_of_an_address_may_end_with_its_at_sign(catalog: Catalog) -> None:
    (sent,) = read(catalog, filter_on("userEmail", "STRING_STARTS_WITH", "analyst-07@"))

    assert sent.value == "analyst-07@"


def test_users_and_virtual_accounts_at_once_are_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidQueryError, match="filter createdBySubjectType"):
        read(
            catalog,
            filter_on("userEmail", "EQUAL", "analyst-07@example.com"),
            filter_on("virtualAccount", "EQUAL", "checkout-bot"),
        )


def test_one_kind_may_be_asked_while_some_of_the_other_are_excluded(catalog: Catalog) -> None:
    sent = read(
        catalog,
        filter_on("userEmail", "EQUAL", "analyst-07@example.com"),
        filter_on("virtualAccount", "NOT_EQUAL", "checkout-bot"),
    )

    assert [f.field_name for f in sent] == ["userEmail", "virtualAccount"]


@pytest.mark.parametrize(
    ("group", "other"), [("userEmail", "virtualAccount"), ("virtualaccount", "userEmail")]
)
def test_a_filter_on_the_kind_that_the_groups_leave_out_is_refused(
    catalog: Catalog, group: str, other: str
) -> None:
    now = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
    arguments = {"startTs": "now-1d", "groupBy": [group], "filters": [filter_on(other, "IN", "x")]}

    with pytest.raises(InvalidQueryError, match=f"{other} matches nothing in groups by {group}"):
        read_distribution(arguments, ParserOptions(catalog), now)
