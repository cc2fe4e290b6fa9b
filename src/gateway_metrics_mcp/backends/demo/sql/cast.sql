-- Who and what there is: the same under every seed. Names are invented, prices are list prices.

-- Prices in nano-USD a token (USD a million tokens times 1000), so that costs are integers.
-- `slow_ms`: about the p99 of the latency; what a stalled call waits for is measured by it.
CREATE TABLE models AS
SELECT
    row_number() OVER (ORDER BY model) AS model_no,
    *,
    'model-' || left(md5(model), 12) AS model_id
FROM (VALUES
    ('openai/gpt-4o', 'openai', 'gpt-4o-2024-08-06', 'chat', 15,
        2500, 1250, NULL, 10000, 420.0, 11.0, 21000, 0.012, TRUE),
    ('openai/gpt-4o-mini', 'openai', 'gpt-4o-mini-2024-07-18', 'chat', 19,
        150, 75, NULL, 600, 330.0, 8.0, 15000, 0.009, FALSE),
    ('anthropic/claude-sonnet-4-5', 'anthropic', 'claude-sonnet-4-5-20250929', 'chat', 14,
        3000, 300, 3750, 15000, 780.0, 14.0, 27000, 0.021, TRUE),
    ('anthropic/claude-haiku-4-5', 'anthropic', 'claude-haiku-4-5-20251001', 'chat', 13,
        1000, 100, 1250, 5000, 420.0, 7.0, 14000, 0.014, FALSE),
    ('google/gemini-2.5-pro', 'google-vertex', 'gemini-2.5-pro', 'chat', 11,
        1250, 125, NULL, 10000, 1100.0, 10.0, 21000, 0.018, TRUE),
    ('google/gemini-2.5-flash', 'google-vertex', 'gemini-2.5-flash', 'chat', 12,
        300, 30, NULL, 2500, 350.0, 5.0, 10000, 0.008, FALSE),
    ('openai/text-embedding-3-large', 'openai', 'text-embedding-3-large', 'embedding', 8,
        130, NULL, NULL, 0, 95.0, 0.0, 300, 0.004, FALSE),
    ('bedrock/llama-3.3-70b', 'aws-bedrock', 'us.meta.llama3-3-70b-instruct-v1:0', 'chat', 5,
        720, NULL, NULL, 720, 520.0, 16.0, 30000, 0.024, FALSE),
    ('self-hosted/qwen2.5-7b', 'self-hosted', 'Qwen/Qwen2.5-7B-Instruct', 'chat', 3,
        NULL, NULL, NULL, NULL, 240.0, 9.0, 17000, 0.030, FALSE)
) AS list (
    model, provider, provider_model, model_type, share,
    input_price, cache_read_price, cache_write_price, output_price,
    first_token_ms, token_ms, slow_ms, failure_rate, is_dear
);

-- A wheel names each choice as often as its share, for pick().
SET VARIABLE model_wheel = (
    SELECT list(model ORDER BY model_no, turn) FROM models, range(share) AS turns (turn)
);

-- The targets of the virtual models, in the order in which they are tried.
CREATE TABLE routes AS
FROM (VALUES
    ('smart-router', 'priority', 1, 'anthropic/claude-sonnet-4-5'),
    ('smart-router', 'priority', 2, 'openai/gpt-4o'),
    ('smart-router', 'priority', 3, 'google/gemini-2.5-pro'),
    ('cheap-chat', 'weight', 1, 'openai/gpt-4o-mini'),
    ('cheap-chat', 'weight', 2, 'google/gemini-2.5-flash'),
    ('cheap-chat', 'weight', 3, 'anthropic/claude-haiku-4-5'),
    ('code-assist', 'priority', 1, 'anthropic/claude-haiku-4-5'),
    ('code-assist', 'priority', 2, 'anthropic/claude-sonnet-4-5'),
    ('code-assist', 'priority', 3, 'openai/gpt-4o')
) AS list (virtual_model, strategy, place, model);

SET VARIABLE virtual_wheel = ['smart-router', 'cheap-chat', 'cheap-chat', 'code-assist'];

-- Calls spread over the hours of a day (UTC) and the days of a week (from Monday).
CREATE TABLE rhythms AS
FROM (VALUES
    ('office', [1, 1, 1, 1, 1, 3, 10, 28, 65, 95, 105, 98,
                70, 85, 105, 100, 85, 55, 30, 20, 14, 9, 5, 3],
        [1.28, 1.42, 1.38, 1.30, 1.10, 0.15, 0.12]),
    ('service', [22, 18, 16, 15, 16, 20, 28, 38, 50, 58, 62, 62,
                 58, 58, 60, 60, 58, 56, 54, 52, 48, 42, 34, 28],
        [1.10, 1.12, 1.10, 1.08, 1.05, 0.82, 0.73]),
    ('night', [30, 180, 240, 200, 110, 20, 2, 2, 2, 2, 2, 2,
               2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 6, 12],
        [1.05, 1.05, 1.05, 1.05, 1.05, 1.00, 0.75])
) AS list (rhythm, hours, week);

-- Virtual accounts, then people: 8 handles in each of 5 roles.
-- `live`, `trial`: the shares of their calls from production and from staging.
CREATE TABLE subjects AS
SELECT
    row_number() OVER (ORDER BY slug) - 1 AS subject_no,
    *,
    'subject-' || left(md5(slug), 12) AS subject_id,
    kind || ':' || slug AS subject
FROM (
    FROM (VALUES
        ('checkout-bot', 'virtualaccount', ['growth'], 'service', 1000, 0.80, 0.12),
        ('support-agent', 'virtualaccount', ['support', 'platform'], 'service', 1250, 0.82, 0.10),
        ('nightly-eval', 'virtualaccount', ['data-science'], 'night', 900, 0.20, 0.70),
        ('search-indexer', 'virtualaccount', ['search', 'platform', 'data-science'], 'night', 880,
            0.75, 0.18),
        ('invoice-reader', 'virtualaccount', ['finance'], 'service', 800, 0.78, 0.15),
        ('release-notes', 'virtualaccount', ['platform'], 'office', 560, 0.60, 0.25),
        ('catalog-writer', 'virtualaccount', ['growth', 'search'], 'service', 760, 0.72, 0.20),
        ('legacy-importer', 'virtualaccount', NULL, 'service', 600, 0.85, 0.10)
    ) AS accounts (slug, kind, teams, rhythm, calls_a_day, live, trial)
    UNION ALL
    SELECT
        format('{}-{:02d}@example.com', role, number),
        'user',
        CASE
            WHEN number = 7 THEN NULL
            WHEN number = 8 THEN []::VARCHAR[]
            WHEN number = 1 THEN list_sort(list_distinct([team, 'platform', 'data-science']))
            WHEN number <= 3 THEN list_sort(list_distinct([team, 'platform']))
            ELSE [team]
        END,
        'office',
        145,
        live,
        trial
    FROM (VALUES
        ('analyst', 'finance', 0.30, 0.20),
        ('developer', 'platform', 0.15, 0.35),
        ('scientist', 'data-science', 0.20, 0.40),
        ('supporter', 'support', 0.75, 0.10),
        ('marketer', 'growth', 0.55, 0.20)
    ) AS roles (role, team, live, trial), range(1, 9) AS numbers (number)
);

-- What calls are for, with their typical tokens.
CREATE TABLE features AS
FROM (VALUES
    ('support-chat', 1500, 320, 30, TRUE),
    ('summarize', 5200, 400, 18, FALSE),
    ('extraction', 2600, 180, 18, FALSE),
    ('code-review', 7400, 760, 9, TRUE),
    ('report', 3200, 1100, 7, TRUE),
    ('classification', 500, 12, 18, FALSE),
    ('semantic-search', 380, 0, 0, FALSE) -- embeddings only
) AS list (feature, input_tokens, output_tokens, share, is_interactive);

SET VARIABLE feature_wheel = (
    SELECT list(feature ORDER BY feature, turn) FROM features, range(share) AS turns (turn)
);

SET VARIABLE customers = [
    'alder-foods', 'birch-bank', 'cedar-health', 'dune-travel', 'elm-energy', 'fjord-freight',
    'grove-retail', 'harbor-legal', 'iris-media', 'juniper-labs', 'kestrel-air', 'lark-games'
];

-- Maps are slow to make: one for each choice of tags, not one for each request.
CREATE TABLE tag_sets AS
SELECT
    environment AS tagged_environment,
    customer AS tagged_customer,
    feature AS tagged_feature,
    map_from_entries(list_filter([
        {'key': 'environment', 'value': environment},
        {'key': 'customer', 'value': customer},
        {'key': 'feature', 'value': feature}
    ], lambda entry: entry.value IS NOT NULL)) AS tags
FROM
    (SELECT unnest(['production', 'staging', 'dev', NULL]) AS environment),
    (SELECT unnest(list_append(getvariable('customers'), NULL)) AS customer),
    (SELECT feature FROM features UNION ALL SELECT NULL);
