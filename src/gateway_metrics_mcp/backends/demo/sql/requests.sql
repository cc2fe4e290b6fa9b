-- One row per request to a model: who asks, when, what for. What came of it is in calls.sql.

CREATE TABLE asked AS
WITH numbered AS (
    SELECT *, slot * 1024 + turn AS id
    FROM (SELECT *, unnest(range(requests))::UBIGINT AS turn FROM hourly)
),

tasted AS (
    SELECT
        *,
        CASE
            WHEN is_jump THEN favourite
            WHEN chance(id, 'taste') < 0.2 THEN NULL -- leaves the choice to a virtual model
            WHEN chance(id, 'taste') < 0.55 THEN favourite
            ELSE pick(getvariable('model_wheel'), id, 'model')
        END AS model
    FROM numbered
)

SELECT
    id,
    epoch_ms(day::TIMESTAMP)
    + floor((hour + chance(id, 'moment')) * 3600000)::BIGINT AS moment,
    subject_no,
    is_jump,
    slot,
    model,
    CASE WHEN model IS NULL THEN pick(getvariable('virtual_wheel'), id, 'virtual') END
        AS virtual_model
FROM tasted;

CREATE TABLE requests AS
WITH placed AS (
    SELECT
        asked.*,
        coalesce(virtual_model, model) AS requested,
        coalesce(model_type, 'chat') AS model_type,
        CASE
            WHEN model_type = 'embedding' THEN 'semantic-search'
            ELSE pick(getvariable('feature_wheel'), id, 'feature')
        END AS feature,
        CASE
            WHEN chance(id, 'no environment') < 0.05 THEN NULL
            WHEN chance(id, 'environment') < live THEN 'production'
            WHEN chance(id, 'environment') < live + trial THEN 'staging'
            ELSE 'dev'
        END AS environment,
        CASE WHEN chance(id, 'has customer') < 0.55 THEN
            getvariable('customers')[
                1 + floor(12 * chance(id, 'customer') * chance(id, 'size'))::INTEGER
            ]
        END AS customer
    FROM asked JOIN subjects USING (subject_no) LEFT JOIN models USING (model)
),

sized AS (
    SELECT
        placed.*,
        is_interactive,
        1 + floor(
            features.input_tokens * spread(id, 'input') * if(is_jump, input_factor, 1)
        )::BIGINT AS input_tokens,
        if(model_type = 'embedding', 0, 1 + floor(
            features.output_tokens * spread(id, 'output')
        )::BIGINT) AS output_tokens,
        -- Only short questions that come again are looked up in the cache.
        NOT is_jump AND feature IN ('support-chat', 'classification', 'semantic-search')
        AND chance(id, 'looks up') < 0.45 AS looks_up
    FROM placed JOIN features USING (feature), story
)

SELECT
    sized.* EXCLUDE (slot, is_interactive, looks_up),
    model_type = 'chat' AND chance(id, 'streaming') < if(is_interactive, 0.85, 0.3) AS is_streaming,
    CASE WHEN is_interactive AND chance(id, 'converses') < 0.8 THEN
        'conv-' || hex_bits(slot * 8 + bits(id, 'conversation') % 5, 'conversation')
    END AS conversation,
    CASE
        WHEN NOT looks_up THEN NULL
        WHEN chance(id, 'found') < 0.34 THEN 'hit'
        WHEN chance(id, 'found') < 0.98 THEN 'miss'
        ELSE 'error'
    END AS cache_status,
    if(feature = 'support-chat', 'semantic', 'exact') AS cache_type,
    if(feature = 'semantic-search', 'search', 'support') AS cache_namespace,
    if(chance(id, 'no metadata') < 0.04, NULL, tags) AS tags
FROM sized JOIN tag_sets
    ON environment IS NOT DISTINCT FROM tagged_environment
    AND customer IS NOT DISTINCT FROM tagged_customer
    AND if(chance(id, 'tells') < 0.8, feature, NULL) IS NOT DISTINCT FROM tagged_feature;

DROP TABLE hourly;
DROP TABLE asked;
