-- Rules applied: load balancing on every request to a virtual model, limits and budgets where
-- they are sampled.
WITH balanced AS (
    SELECT
        id,
        0::UBIGINT AS kind_no,
        'loadbalance' AS config_type,
        virtual_model || '-rule' AS rule,
        strategy,
        first_model,
        outcomes.model AS final_model,
        attempts,
        NOT is_failure AS is_success
    FROM outcomes
    JOIN requests USING (id)
    JOIN (SELECT DISTINCT virtual_model, strategy FROM routes) USING (virtual_model)
),

limited AS (
    SELECT
        id,
        1::UBIGINT AS kind_no,
        'ratelimit' AS config_type,
        pick(getvariable('ratelimit_rules'), id, 'rate limit') AS rule,
        outcomes.status <> 429 AND chance(id, 'over limit') >= 0.02 AS is_success
    FROM outcomes WHERE chance(id, 'is limited') < 0.07
),

budgeted AS (
    SELECT
        id,
        2::UBIGINT AS kind_no,
        'budget' AS config_type,
        pick(getvariable('budget_rules'), id, 'budget') AS rule,
        -- The account of the first story runs into its budget now and then.
        chance(id, 'over budget') >= if(is_jump, 0.15, 0.004) AS is_success
    FROM requests WHERE chance(id, 'is budgeted') < 0.05
),

entries AS (
    FROM balanced UNION ALL BY NAME FROM limited UNION ALL BY NAME FROM budgeted
)

SELECT
    "TraceId",
    span_id(id * 4 + kind_no, 'config span') AS "SpanId",
    instant(moment) AS "CreatedAt",
    "ConversationId",
    rule AS "RuleId",
    rule || ':' || slug AS "ResolvedRuleId",
    config_type AS "ConfigType",
    requested AS "RequestedModel",
    coalesce(final_model, requested) AS "Model",
    strategy AS "LoadbalanceType",
    first_model AS "LoadbalanceFirstTarget",
    final_model AS "LoadbalanceFinalTarget",
    attempts::INTEGER AS "LoadbalanceTargetAttemptCount",
    if(config_type = 'loadbalance', rule, NULL) AS "LoadbalanceRuleId",
    if(is_success, 'success', 'fail') AS "Status",
    "Metadata",
    "CreatedBySubjectSlug",
    "CreatedBySubjectType",
    if(config_type = 'ratelimit', rule, NULL) AS "RatelimitRuleId",
    if(config_type = 'budget', rule, NULL) AS "BudgetRuleId",
    "Teams"
FROM entries JOIN context USING (id)
