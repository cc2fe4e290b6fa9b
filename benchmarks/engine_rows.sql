-- The calls of one day: $count rows from $start on, other ones for each $seed. Every value is a
-- function of seed and row, so that each run makes the same. Models and subjects are Zipf-like,
-- tokens, costs and times lognormal. Values are drawn independently, and engine_rows.py checks it.

-- A number in (0, 1), another for each row i and each n below 64. The hash is of one number: in
-- DuckDB, hash(i, n) of two is correlated over n.
CREATE MACRO uniform(i, n) AS ((hash((i * 64 + n)::UBIGINT) >> 11) + 0.5) / 9007199254740992;
-- 1 to `most`, each about as frequent as one divided by itself.
CREATE MACRO zipf(i, n, most) AS least(most, floor(pow(most + 1, uniform(i, n))))::INTEGER;
-- Takes n and n + 1.
CREATE MACRO lognormal(i, n, middle, spread) AS
    middle * exp(spread * sqrt(-2 * ln(uniform(i, n))) * cos(2 * pi() * uniform(i, n + 1)));
CREATE MACRO pick(i, n, words) AS words[1 + floor(len(words) * uniform(i, n))::INTEGER];
-- Of a subject, whose numbers are below those of all rows: the same in all its rows.
CREATE MACRO team_of(subject, n) AS 'team-' || zipf(subject, n, 12);

COPY (
    WITH drawn AS (
        SELECT k, i, zipf(i, 0, 24) AS model, zipf(i, 2, 2000) AS subject,
            uniform(i, 4) < 0.03 AS is_failed, uniform(i, 5) < 0.6 AS is_streamed,
            uniform(i, 6) < 0.1 AS is_routed, lognormal(i, 7, 900, 1.2)::BIGINT AS input,
            lognormal(i, 9, 250, 1.0)::BIGINT AS output, lognormal(i, 11, 1400, 0.8) AS latency
        FROM (SELECT k, k + $seed::BIGINT * 100000000 AS i FROM range($count) AS t(k))
    )
    SELECT
        TIMESTAMPTZ '$start' + to_microseconds(floor((k + uniform(i, 29)) * (86400e6 / $count))::BIGINT) AS "CreatedAt",
        md5(concat($seed, ' ', k)) AS "TraceId",
        left(md5(concat('span ', $seed, ' ', k)), 16) AS "SpanId",
        CASE WHEN uniform(i, 13) < 0.7 THEN md5(concat($seed, ' ', subject, ' ', k // 10000)) END
            AS "ConversationId",
        'provider-' || (model % 5) || '/model-' || model AS "ModelName",
        'model-' || model AS "RequestedModelName",
        CASE WHEN is_routed THEN 'router-' || (model % 3) END AS "VirtualModelName",
        CASE WHEN is_routed THEN 1 + (uniform(i, 14) < 0.1)::INTEGER END
            AS "VirtualModelTargetAttempt",
        pick(i, 15, ['ChatCompletion', 'ChatCompletion', 'ChatCompletion', 'Embedding'])
            AS "RequestType",
        input AS "InputTokens",
        CASE WHEN is_failed THEN 0 ELSE output END AS "OutputTokens",
        round(latency, 3) AS "LatencyMs",
        CASE WHEN is_streamed THEN round(latency * (0.1 + 0.3 * uniform(i, 16)), 3) END
            AS "TimeToFirstTokenMs",
        CASE WHEN is_streamed THEN round(lognormal(i, 17, 18, 0.4), 3) END AS "InterTokenLatencyMs",
        is_streamed AS "Streaming",
        CASE WHEN uniform(i, 19) < 0.97
            THEN round((input * (1 + model % 7) + output * (4 + model % 11)) / 1e7, 8) END
            AS "CostInUSD",
        CASE WHEN is_failed THEN pick(i, 20, [400, 429, 429, 500, 503]) ELSE 200 END
            AS "HttpStatusCode",
        is_failed AS "IsFailure",
        CASE WHEN is_failed THEN pick(i, 21, ['rate_limit', 'timeout', 'bad_request']) END
            AS "ErrorType",
        CASE WHEN uniform(i, 22) < 0.2 THEN pick(i, 23, ['hit', 'miss', 'miss']) END
            AS "CacheLookupStatus",
        -- Up to four keys, the first of them the most frequent.
        CASE floor(5 * uniform(i, 24))::INTEGER
            WHEN 0 THEN MAP {}
            WHEN 1 THEN MAP {'environment': pick(i, 25, ['production', 'production', 'staging', 'dev'])}
            WHEN 2 THEN MAP {'environment': pick(i, 25, ['production', 'production', 'staging', 'dev']),
                'project': 'project-' || zipf(i, 26, 60)}
            WHEN 3 THEN MAP {'environment': pick(i, 25, ['production', 'production', 'staging', 'dev']),
                'project': 'project-' || zipf(i, 26, 60), 'feature': 'feature-' || zipf(i, 27, 200)}
            ELSE MAP {'environment': pick(i, 25, ['production', 'production', 'staging', 'dev']),
                'project': 'project-' || zipf(i, 26, 60), 'feature': 'feature-' || zipf(i, 27, 200),
                'version': '1.' || zipf(i, 28, 30)}
        END AS "Metadata",
        CASE WHEN subject % 4 = 0 THEN 'service-' || subject
            ELSE 'user-' || subject || '@example.com' END AS "CreatedBySubjectSlug",
        CASE WHEN subject % 4 = 0 THEN 'virtualaccount' ELSE 'user' END AS "CreatedBySubjectType",
        list_distinct([team_of(subject, 1), team_of(subject, 2), team_of(subject, 3)][:floor(4 * uniform(subject, 0))::INTEGER]) AS "Teams",
        'provider-' || (model % 5) AS "ProviderAccountType",
        'model-' || model AS "ProviderModelName"
    FROM drawn
) TO '$path' (FORMAT parquet, COMPRESSION lz4);
