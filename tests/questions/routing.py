"""How requests are routed, limited and budgeted."""

from __future__ import annotations

from typing import Any, Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, where

_RULES: Final[dict[str, Any]] = {"datasource": "configMetrics", **LAST_7_DAYS}

QUESTIONS: Final = (
    PlainQuestion(
        "rules-by-kind",
        "How often did rules of each kind apply, and how did they end?",
        (
            by_group(
                """
                SELECT ConfigType AS configType, Status AS status, count(*) AS total
                FROM gateway_config_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=2,
                groupBy=["configType", "status"],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "rule-failures",
        "Which kind of rule turns requests away most often?",
        (
            by_group(
                """
                SELECT ConfigType AS configType,
                    count_if(lower(Status) IN ('fail', 'failed', 'failure', 'blocked')) / count(*)
                        AS ruleFailureRate
                FROM gateway_config_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                aggregations=["ruleFailureRate"],
                groupBy=["configType"],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "targets-tried",
        "How many targets does the smart router try for a request?",
        (
            by_group(
                """
                SELECT avg(LoadbalanceTargetAttemptCount) AS avgLoadbalanceTargetAttemptCount,
                    max(LoadbalanceTargetAttemptCount) AS maxLoadbalanceTargetAttemptCount,
                    count(*) AS total
                FROM gateway_config_metrics
                WHERE last_7_days(CreatedAt) AND LoadbalanceRuleId = 'smart-router-rule'
                """,
                aggregations=[
                    "avg loadbalanceTargetAttemptCount",
                    "max loadbalanceTargetAttemptCount",
                ],
                filters=[where("loadbalanceRuleId", "IN", "smart-router-rule")],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "fallbacks",
        "How many requests to virtual models needed a second or third target?",
        (
            by_group(
                """
                SELECT LoadbalanceTargetAttemptCount AS loadbalanceTargetAttemptCount,
                    count(*) AS total
                FROM gateway_config_metrics
                WHERE last_7_days(CreatedAt)
                    AND RequestedModel IN ('smart-router', 'cheap-chat', 'code-assist')
                    AND ConfigType = 'loadbalance'
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["loadbalanceTargetAttemptCount"],
                filters=[
                    where(
                        "loadbalanceRuleId",
                        "IN",
                        "smart-router-rule",
                        "cheap-chat-rule",
                        "code-assist-rule",
                    )
                ],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "where-requests-end",
        "Which models do requests to cheap-chat end at?",
        (
            by_group(
                """
                SELECT Model AS targetModel, count(*) AS total
                FROM gateway_config_metrics
                WHERE last_7_days(CreatedAt) AND LoadbalanceRuleId = 'cheap-chat-rule'
                GROUP BY ALL ORDER BY total DESC
                """,
                keys=1,
                leads=True,
                groupBy=["targetModel"],
                filters=[where("loadbalanceRuleId", "IN", "cheap-chat-rule")],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "over-budget",
        "Which virtual account ran into its budget?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount, Status AS status,
                    count(*) AS total
                FROM gateway_config_metrics
                WHERE last_7_days(CreatedAt) AND BudgetRuleId IS NOT NULL
                    AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL
                """,
                keys=2,
                groupBy=["virtualaccount", "status"],
                filters=[where("budgetRuleId", "IN", "team-monthly", "account-daily")],
                **_RULES,
            ),
        ),
    ),
    PlainQuestion(
        "cost-of-virtual-models",
        "What did requests to each virtual model cost, all their attempts together?",
        (
            by_group(
                """
                SELECT coalesce(VirtualModelName, 'ALL') AS virtualModelName,
                    sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NOT NULL
                GROUP BY ROLLUP (VirtualModelName)
                """,
                keys=1,
                says=("virtual models only",),
                aggregations=["sum costInUSD"],
                groupBy=["virtualModel"],
                **LAST_7_DAYS,
            ),
        ),
    ),
)
