-- One row per request: what its caller saw, all attempts taken together.
-- A request to one model has one attempt: there is nothing to add up.
CREATE TABLE outcomes AS
SELECT
    * EXCLUDE (attempt, call_id), attempt::BIGINT AS attempts, model AS first_model
FROM calls WHERE NOT is_virtual
UNION ALL BY NAME
SELECT
    id,
    TRUE AS is_virtual,
    count(*) AS attempts,
    arg_min(model, attempt) AS first_model,
    arg_max(model, attempt) AS model,
    bool_and(is_failure) AS is_failure,
    if(bool_and(is_failure), arg_max(error, attempt), NULL) AS error,
    arg_max(status, attempt) AS status,
    sum(latency)::BIGINT AS latency,
    sum(latency)::BIGINT - arg_max(latency - first_latency, attempt) AS first_latency,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    sum(read_tokens)::BIGINT AS read_tokens,
    sum(written_tokens)::BIGINT AS written_tokens,
    sum(cost)::BIGINT AS cost,
    sum(saved_cost)::BIGINT AS saved_cost,
    max(cache_status) AS cache_status,
    max(lookup_latency) AS lookup_latency
FROM calls WHERE is_virtual GROUP BY id;

-- The columns that every table has of a request and its caller.
CREATE VIEW context AS
SELECT
    requests.* EXCLUDE (model, input_tokens, output_tokens, cache_status),
    slug,
    trace_id(id) AS "TraceId",
    conversation AS "ConversationId",
    tags AS "Metadata",
    slug AS "CreatedBySubjectSlug",
    kind AS "CreatedBySubjectType",
    teams AS "Teams",
    subject_id AS "CreatedBySubjectId",
    subject AS "CreatedBySubject"
FROM requests JOIN subjects USING (subject_no);
