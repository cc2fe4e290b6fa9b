-- Some requests are guarded, each by several guardrails; on the output only where there is one.
WITH runs AS (
    SELECT
        id,
        moment AS asked_at,
        latency,
        is_failure AS is_unanswered,
        guardrails.*,
        id * 8 + guardrail_no AS run_no
    FROM outcomes JOIN context USING (id), guardrails
    WHERE model_type = 'chat' AND NOT is_jump AND chance(id, 'is guarded') < 0.165
),

judged AS (
    SELECT
        * EXCLUDE (latency),
        later(asked_at, if(scope = 'input', 0, latency // 100)) AS start,
        CASE
            WHEN chance(run_no, 'judgement') < error_rate THEN 'error'
            WHEN chance(run_no, 'judgement') < error_rate + fail_rate THEN 'fail'
            ELSE 'pass'
        END AS result
    FROM runs
    WHERE chance(run_no, 'runs') < share AND (scope = 'input' OR NOT is_unanswered)
)

SELECT
    "TraceId",
    span_id(run_no, 'guardrail span') AS "SpanId",
    instant(start) AS "CreatedAt",
    guardrail_id AS "GuardrailId",
    guardrail AS "GuardrailName",
    'guardrail:demo/' || integration || '/' || guardrail AS "GuardrailFqn",
    floor(100 * if(result = 'error', 5000, typical_ms * spread(run_no, 'guardrail time'))) / 100
        AS "LatencyMs",
    result AS "GuardrailResult",
    result = 'error' AS "IsFailure",
    scope AS "AppliedOnEntityScope",
    'model-' || left(md5(requested), 12) AS "AppliedOnEntityId",
    requested AS "AppliedOnEntityName",
    'model:demo/' || requested AS "AppliedOnEntityFqn",
    if(virtual_model IS NULL, 'model', 'virtual-model') AS "AppliedOnEntityType",
    "Metadata",
    "CreatedBySubjectSlug",
    "CreatedBySubjectType",
    "Teams",
    "CreatedBySubjectId",
    "CreatedBySubject",
    'account-' || left(md5(integration), 12) AS "ProviderAccountId",
    'integration/guardrail/' || integration AS "ProviderIntegrationType",
    "ConversationId"
FROM judged JOIN context USING (id)
