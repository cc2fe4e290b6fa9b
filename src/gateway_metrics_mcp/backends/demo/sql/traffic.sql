-- When requests are made: how many by each source in each hour of each day.

-- Sources: each subject, and once more the account whose use jumps.
CREATE TABLE sources AS
SELECT
    subject_no AS source_no,
    subject_no,
    rhythm,
    calls_a_day * CASE kind
        WHEN 'user' THEN 0.3 + 1.6 * chance(subject_no, 'zeal') * chance(subject_no, 'more zeal')
        ELSE 0.85 + 0.3 * chance(subject_no, 'zeal')
    END AS calls_a_day,
    CASE slug
        WHEN spend_account THEN spend_model
        ELSE pick(getvariable('model_wheel'), subject_no, 'favourite')
    END AS favourite,
    FALSE AS is_jump,
    DATE '1970-01-01' AS first_day
FROM subjects, story
UNION ALL
SELECT 63, subject_no, 'service', extra_calls, spend_model, TRUE, spend_start
FROM subjects JOIN story ON slug = spend_account;

CREATE TABLE hourly AS
WITH days AS (
    SELECT getvariable('end_day') - unnest(getvariable('days_back'))::INTEGER AS day
),

slots AS (
    SELECT
        *,
        -- Days 64 apart share their draws: this keeps numbers small, and no data are that long.
        ((day - DATE '1970-01-01') % 64)::UBIGINT AS day_no,
        unnest(range(24))::UBIGINT AS hour
    FROM days, sources JOIN rhythms USING (rhythm)
    WHERE day >= first_day
),

expected AS (
    SELECT
        *,
        (day_no * 24 + hour) * 64 + source_no AS slot,
        calls_a_day * week[isodow(day)] * hours[hour::INTEGER + 1] / list_sum(hours)
        * (0.93 + 0.14 * chance(day_no, 'day'))
        * CASE
            WHEN is_jump THEN 1
            WHEN chance(day_no * 64 + source_no, 'away') < 0.04 THEN 0.1
            ELSE 0.75 + 0.5 * chance(day_no * 64 + source_no, 'mood')
        END AS calls
    FROM slots
)

SELECT *, least(1023, floor(calls + chance(slot, 'calls')))::BIGINT AS requests
FROM expected;
