-- The stories, as given, and how many calls a day the jump of spend adds.
CREATE TABLE story AS
WITH told AS (
    SELECT
        $spend_account::VARCHAR AS spend_account,
        $spend_model::VARCHAR AS spend_model,
        $spend_start::DATE AS spend_start,
        $slow_model::VARCHAR AS slow_model,
        $slow_environment::VARCHAR AS slow_environment,
        $slow_start::DATE AS slow_start,
        4 AS input_factor, -- its prompts grow as well
        58e9 AS usual_cost, -- about what the tenant spends a day, in nano-USD
        0.5 AS rise, -- of the last 7 full days over the 7 before
        getvariable('end_day') - 7 AS last_week
),

-- The jump falls into the last week (`late` days), perhaps into the one before too (`early`).
dated AS (
    SELECT
        *,
        7 - greatest(0, spend_start - last_week) AS late,
        greatest(0, last_week - spend_start) AS early
    FROM told
),

one_call AS (
    SELECT
        model AS spend_model,
        -- 1.1: the mean of spread().
        1.1 * sum(share * (
            input_tokens * input_factor * input_price + output_tokens * output_price
        )) / sum(share) AS cost
    FROM (SELECT model, input_price, output_price FROM models WHERE is_dear), features, told
    GROUP BY model
)

SELECT
    dated.*,
    rise * 7 / (late - (1 + rise) * early) * usual_cost / cost AS extra_calls
FROM dated JOIN one_call USING (spend_model);
