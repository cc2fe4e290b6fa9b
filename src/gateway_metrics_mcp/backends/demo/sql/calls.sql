-- What came of the requests: one row per call of a model (`calls`), one per request (`outcomes`).
-- Whole numbers, so that sums do not depend on their order: latency in hundredths of a
-- millisecond, cost in nano-USD.

CREATE MACRO status_code(error, number) AS CASE error
    WHEN 'RateLimitError' THEN 429
    WHEN 'ProviderError' THEN if(chance(number, 'status') < 0.5, 500, 503)
    WHEN 'Timeout' THEN 504
    WHEN 'InvalidRequest' THEN 400
    WHEN 'AuthenticationError' THEN 401
    ELSE 200
END;

CREATE TABLE calls AS
WITH joined AS (
    SELECT
        requests.* EXCLUDE (model, model_type, input_tokens, output_tokens, cache_status),
        attempts.* EXCLUDE (id),
        models.* EXCLUDE (model),
        requests.input_tokens AS asked_tokens,
        requests.output_tokens AS wanted_tokens,
        -- The cache is asked once, before the first target.
        if(attempt = 1, cache_status, NULL) AS cache_status,
        if(is_failure, CASE
            WHEN chance(call_id, 'error') < 0.40 THEN 'RateLimitError'
            WHEN chance(call_id, 'error') < 0.74 THEN 'ProviderError'
            WHEN chance(call_id, 'error') < 0.79 THEN 'Timeout'
            WHEN virtual_model IS NOT NULL THEN 'RateLimitError'
            WHEN chance(call_id, 'error') < 0.95 THEN 'InvalidRequest'
            ELSE 'AuthenticationError'
        END, NULL) AS error
    FROM attempts JOIN requests USING (id) JOIN models ON models.model = attempts.model
),

measured AS (
    SELECT
        *,
        coalesce(cache_status = 'hit', FALSE) AS is_hit,
        if(is_failure AND error <> 'Timeout', NULL, asked_tokens) AS input_tokens,
        if(is_failure, if(error = 'Timeout', 0, NULL), wanted_tokens) AS output_tokens,
        if(cache_status IS NULL, NULL, 200 + floor(900 * spread(id, 'lookup')))::BIGINT
            AS lookup_latency,
        -- Part of a long prompt the provider knows already.
        if(NOT is_failure AND asked_tokens > 1500 AND cache_read_price IS NOT NULL
            AND cache_status IS DISTINCT FROM 'hit' AND chance(id, 'prompt cache') < 0.35,
            floor(asked_tokens * (0.3 + 0.5 * chance(id, 'known part')))::BIGINT, NULL)
            AS known_tokens
    FROM joined
),

timed AS (
    SELECT
        *,
        if(cache_write_price IS NOT NULL AND chance(id, 'known') < 0.25, known_tokens, NULL)
            AS written_tokens,
        if(written_tokens IS NULL, known_tokens, NULL) AS read_tokens,
        -- The second story: a few calls of one model in one environment stall.
        if(model = slow_model AND tags['environment'] = slow_environment
            AND utc_day(moment) >= slow_start AND NOT is_failure AND NOT is_hit
            AND chance(call_id, 'stalls') < 0.07,
            slow_ms * (2.6 + 1.6 * chance(call_id, 'stall')), 0) AS stall_ms,
        CASE
            WHEN error = 'Timeout' THEN 1.5 * slow_ms + 40 * chance(call_id, 'first')
            WHEN is_failure THEN 40 + 160 * spread(call_id, 'first')
            WHEN is_hit THEN lookup_latency / 100.0 + 3 * spread(call_id, 'first')
            ELSE first_token_ms * mild_spread(call_id, 'first') + asked_tokens * 0.03 + stall_ms
        END AS first_ms,
        if(is_failure OR is_hit, 0, wanted_tokens * token_ms * mild_spread(call_id, 'pace'))
            AS writing_ms
    FROM measured, story
),

priced AS (
    SELECT
        *,
        input_tokens * input_price
        - coalesce(read_tokens * (input_price - cache_read_price), 0)
        + coalesce(written_tokens * (cache_write_price - input_price), 0)
        + output_tokens * output_price AS list_cost,
        floor(first_ms * 100)::BIGINT AS first_latency,
        first_latency + floor(writing_ms * 100)::BIGINT AS latency
    FROM timed
)

SELECT
    id, virtual_model IS NOT NULL AS is_virtual, attempt, call_id, model, is_failure, error, input_tokens, output_tokens,
    read_tokens, written_tokens, cache_status, lookup_latency, first_latency, latency,
    status_code(error, call_id) AS status,
    if(is_hit, 0 * list_cost, list_cost) AS cost,
    if(is_hit, list_cost, NULL) AS saved_cost
FROM priced;
