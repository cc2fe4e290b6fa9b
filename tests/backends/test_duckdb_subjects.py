"""Users and virtual accounts as groups, in filters and as who asks (R7, R8, R23)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Caller, SubjectType
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, DatasourceName

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]


def names(rows: Iterable[Row], key: str = "modelName") -> set[str]:
    return {row[key] for row in rows}


# --- R7 and R8: subjects ---


SUBJECTS: Final = (
    ("user 1", "analyst-1@example.com", "user"),
    ("user 2", "analyst-2@example.com", "user"),
    ("bot 1", "checkout-bot", "virtualaccount"),
    ("same user", "shared", "user"),
    ("same bot", "shared", "virtualaccount"),
    ("no slug user", None, "user"),
    ("no slug bot", None, "virtualaccount"),
)
SUBJECT_ROWS: Final = tuple(
    {"ModelName": name, "CreatedBySubjectSlug": slug, "CreatedBySubjectType": kind}
    for name, slug, kind in SUBJECTS
)
USERS: Final = {"analyst-1@example.com": 1, "analyst-2@example.com": 1, "shared": 1, None: 1}
BOTS: Final = {"checkout-bot": 1, "shared": 1, None: 1}


@pytest.mark.parametrize("datasource", DATASOURCES)
@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (["userEmail"], USERS),
        (["virtualaccount"], BOTS),
        (["userEmail", "virtualaccount"], Counter(USERS) + Counter(BOTS)),
        (["virtualaccount", "userEmail"], Counter(USERS) + Counter(BOTS)),
    ],
    ids=["user", "account", "both", "both turned round"],
)
async def test_r7_one_kind_of_subject_filters_and_both_share_one_key(
    ask: Ask,
    write: Write,
    datasource: DatasourceName,
    group_by: list[str],
    expected: dict[str | None, int],
) -> None:
    table = load_catalog().datasources[datasource].table
    looked_up = {"CacheLookupStatus": "hit"} if datasource == "cacheMetrics" else {}
    rows = [{**row, **looked_up} for row in SUBJECT_ROWS]
    write([{k: v for k, v in row.items() if k != "ModelName"} for row in rows], table=table)

    answer = await ask(datasource=datasource, groupBy=group_by)

    assert [set(row) for row in answer] == [{"createdBySubjectSlug", "total"}] * len(answer)
    assert {row["createdBySubjectSlug"]: row["total"] for row in answer} == expected


async def test_r7_the_shared_key_stands_where_the_first_of_the_two_stood(
    ask: Ask, write: Write
) -> None:
    write(SUBJECT_ROWS[:1])

    rows = await ask(groupBy=["userEmail", "modelName", "virtualaccount"])

    assert [list(row.items()) for row in rows] == [
        [
            ("createdBySubjectSlug", "analyst-1@example.com"),
            ("modelName", "user 1"),
            ("total", 1),
        ]
    ]


ALL_BOTS: Final = {"bot 1", "same bot", "no slug bot"}
ALL_USERS: Final = {"user 1", "user 2", "same user", "no slug user"}


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("userEmail", "EQUAL", "shared", {"same user"}),
        ("userEmail", "IN", ["shared", "checkout-bot"], {"same user"}),
        ("userEmail", "STRING_CONTAINS", "1@", {"user 1"}),
        ("userEmail", "STRING_STARTS_WITH", "analyst", {"user 1", "user 2"}),
        ("userEmail", "STRING_ENDS_WITH", "-bot", set()),
        ("userEmail", "GREATER_THAN", "analyst-1@example.com", {"user 2", "same user"}),
        ("userEmail", "NOT_EQUAL", "shared", {"user 1", "user 2", *ALL_BOTS}),
        ("userEmail", "NOT_IN", ["shared", "analyst-1@example.com"], {"user 2", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_CONTAINS", "1@", {"user 2", "same user", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_STARTS_WITH", "analyst", {"same user", *ALL_BOTS}),
        ("userEmail", "STRING_NOT_ENDS_WITH", "d", {"user 1", "user 2", *ALL_BOTS}),
        ("virtualAccount", "EQUAL", "shared", {"same bot"}),
        ("virtualAccount", "IN", ["shared", "analyst-1@example.com"], {"same bot"}),
        ("virtualAccount", "STRING_CONTAINS", "out", {"bot 1"}),
        ("virtualAccount", "STRING_STARTS_WITH", "s", {"same bot"}),
        ("virtualAccount", "STRING_ENDS_WITH", "bot", {"bot 1"}),
        ("virtualAccount", "BETWEEN", ["c", "d"], {"bot 1"}),
        ("virtualAccount", "NOT_EQUAL", "shared", {"bot 1", *ALL_USERS}),
        ("virtualAccount", "NOT_IN", ["shared", "checkout-bot"], ALL_USERS),
        ("virtualAccount", "STRING_NOT_CONTAINS", "out", {"same bot", *ALL_USERS}),
        ("virtualAccount", "STRING_NOT_STARTS_WITH", "s", {"bot 1", *ALL_USERS}),
        ("virtualAccount", "STRING_NOT_ENDS_WITH", "bot", {"same bot", *ALL_USERS}),
    ],
)
async def test_r8_a_subject_filter_means_slug_and_kind_and_its_negation_the_whole(
    ask: Ask, write: Write, field: str, operator: str, value: object, expected: set[str]
) -> None:
    write(SUBJECT_ROWS)

    rows = await ask(groupBy=["modelName"], filters=[(field, operator, value)])

    assert names(rows) == expected


# --- R23: whose rows ---


OWNED: Final[tuple[tuple[str, str | None, str | None, list[str] | None], ...]] = (
    ("mine", "shared", "user", ["search"]),
    ("the bot's", "shared", "virtualaccount", ["platform"]),
    ("a team mate's", "analyst-2@example.com", "user", ["platform", "search"]),
    ("a stranger's", "analyst-3@example.com", "user", ["support"]),
    ("nobody's", None, None, None),
    ("teamless", "analyst-4@example.com", "user", []),
)


@pytest.mark.parametrize(
    ("slug", "kind", "teams", "expected"),
    [
        ("shared", "user", (), {"mine"}),
        ("shared", "virtualaccount", (), {"the bot's"}),
        ("shared", "user", ("search",), {"mine", "a team mate's"}),
        ("shared", "virtualaccount", ("search", "support"), {
            "mine", "the bot's", "a team mate's", "a stranger's"
        }),
        ("absent", "user", ("platform",), {"the bot's", "a team mate's"}),
        ("absent", "user", (), set()),
        ("SHARED", "user", ("Search", "sea%"), set()),
        ("", "user", ("",), set()),
    ],
)  # fmt: skip
async def test_r23_a_caller_sees_the_own_rows_and_those_of_the_own_teams(
    ask: Ask, write: Write, slug: str, kind: SubjectType, teams: tuple[str, ...], expected: set[str]
) -> None:
    write(
        [
            {"ModelName": n, "CreatedBySubjectSlug": s, "CreatedBySubjectType": k, "Teams": t}
            for n, s, k, t in OWNED
        ]
    )
    caller = Caller(slug, kind, frozenset(teams))
    admin = Caller(slug, kind, is_tenant_admin=True)

    assert names(await ask(caller=caller, groupBy=["modelName"])) == expected
    assert await ask(caller=caller) == [{"total": len(expected)}]
    assert await ask(caller=admin) == [{"total": len(OWNED)}]


async def test_r23_no_filter_widens_what_a_caller_sees(ask: Ask, write: Write) -> None:
    write(
        [
            {"ModelName": n, "CreatedBySubjectSlug": s, "CreatedBySubjectType": k, "Teams": t}
            for n, s, k, t in OWNED
        ]
    )
    caller = Caller("shared", "user")

    for name, operator, value in (
        ("userEmail", "NOT_EQUAL", "shared"),
        ("virtualAccount", "NOT_EQUAL", "absent"),
        ("team", "ARRAY_HAS_NONE", ["absent"]),
    ):
        rows = await ask(caller=caller, groupBy=["modelName"], filters=[(name, operator, value)])
        assert names(rows) <= {"mine"}
