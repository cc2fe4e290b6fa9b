-- Real calls, and one row more for each request to a virtual model.
WITH entries AS (
    SELECT *, FALSE AS is_whole, 0 AS waited_ms FROM calls WHERE NOT is_virtual
    UNION ALL BY NAME
    SELECT
        *,
        FALSE AS is_whole,
        -- A later attempt begins when the earlier ones are over.
        coalesce(sum(latency) OVER (
            PARTITION BY id ORDER BY attempt ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) // 100 AS waited_ms
    FROM calls WHERE is_virtual
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (attempts, first_model),
        TRUE AS is_whole,
        0 AS waited_ms,
        NULL AS attempt,
        id * 4 + 3 AS call_id
    FROM outcomes WHERE is_virtual
),

asked_for AS (
    SELECT
        entries.*,
        requests.* EXCLUDE (id, model, input_tokens, output_tokens, cache_status),
        later(moment, waited_ms) AS created
    FROM entries JOIN requests USING (id)
),

-- Maps are slow to make: one for each virtual model, not one for each row.
configured AS (
    SELECT DISTINCT
        virtual_model,
        'virtual-' || left(md5(virtual_model), 12) AS virtual_id,
        MAP {'ratelimit': ['chat-per-user'], 'loadbalance': [virtual_model || '-rule']} AS configs
    FROM routes
),

described AS (
    SELECT
        asked_for.*,
        configs,
        if(is_whole, virtual_id, NULL) AS virtual_id,
        subjects.* EXCLUDE (subject_no),
        models.* EXCLUDE (model, model_type),
        if(is_whole, virtual_model, NULL) AS virtual_name,
        is_streaming AND coalesce(output_tokens, 0) > 0 AS is_streamed,
        cache_status IS NOT NULL AND cache_type = 'semantic' AS is_semantic,
        latency - if(is_streamed, first_latency, 0) AS writing_latency
    FROM asked_for
    JOIN subjects USING (subject_no)
    JOIN models USING (model)
    LEFT JOIN configured USING (virtual_model)
)

SELECT
    trace_id(id) AS "TraceId",
    span_id(call_id, 'model span') AS "SpanId",
    instant(created) AS "CreatedAt",
    conversation AS "ConversationId",
    model_id AS "ModelId",
    model AS "ModelName",
    requested AS "RequestedModelName",
    virtual_name AS "VirtualModelName",
    virtual_name AS "VirtualModelSlug",
    virtual_id AS "VirtualModelId",
    if(virtual_model IS NOT NULL, attempt, NULL)::INTEGER AS "VirtualModelTargetAttempt",
    if(model_type = 'embedding', 'Embedding', 'ChatCompletion') AS "RequestType",
    input_tokens AS "InputTokens",
    output_tokens AS "OutputTokens",
    latency / 100 AS "LatencyMs",
    if(is_streamed, first_latency, NULL) / 100 AS "TimeToFirstTokenMs",
    if(is_streamed AND output_tokens > 1, writing_latency // (output_tokens - 1), NULL) / 100
        AS "InterTokenLatencyMs",
    is_streaming AS "Streaming",
    cost / 1000000000 AS "CostInUSD",
    coalesce(configs, MAP {'ratelimit': ['chat-per-user']}) AS "AppliedConfigIds",
    status::INTEGER AS "HttpStatusCode",
    if(
        chance(id, 'region') < 0.7,
        MAP {'tfy_gateway_region': 'eu-west'},
        MAP {'tfy_gateway_region': 'us-east'}
    ) AS "TfyMetadata",
    is_failure AS "IsFailure",
    error AS "ErrorType",
    model_type AS "ModelType",
    if(cache_status IS NULL, NULL, cache_type) AS "CacheType",
    cache_status = 'hit' AS "CacheHit",
    saved_cost / 1000000000 AS "PotentialCostSavings",
    cache_status AS "CacheLookupStatus",
    lookup_latency / 100 AS "CacheLookupLatencyMs",
    if(cache_status IS NULL, NULL, cache_namespace) AS "CacheNamespace",
    if(is_semantic AND cache_status = 'hit', 91 + floor(9 * chance(id, 'similarity')), NULL) / 100
        AS "SemanticCacheSimilarityScore",
    if(is_semantic, 0.9, NULL)::DOUBLE AS "SemanticCacheSimilarityThreshold",
    tags AS "Metadata",
    slug AS "CreatedBySubjectSlug",
    kind AS "CreatedBySubjectType",
    teams AS "Teams",
    subject_id AS "CreatedBySubjectId",
    subject AS "CreatedBySubject",
    provider AS "ProviderAccountType",
    'integration/model/' || provider AS "ProviderIntegrationType",
    provider_model AS "ProviderModelName",
    if(output_tokens > 0, writing_latency // output_tokens, NULL) / 100
        AS "TimePerOutputTokenLatencyMs",
    read_tokens AS "CacheReadInputTokens",
    written_tokens AS "CacheCreationInputTokens"
FROM described
