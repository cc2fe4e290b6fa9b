-- Whatever came through the gateway: model requests, MCP requests, agent runs.
WITH model_requests AS (
    SELECT
        id,
        0::UBIGINT AS kind_no,
        moment AS start,
        if(model_type = 'embedding', 'Embedding', 'ChatCompletion') AS request_type,
        'Model' AS span_type,
        latency,
        is_streaming,
        status,
        if(model_type = 'embedding', '/api/llm/embeddings', '/api/llm/chat/completions') AS path,
        is_failure,
        NULL AS agent
    FROM outcomes JOIN context USING (id)
),

tool_requests AS (
    SELECT
        id,
        1::UBIGINT AS kind_no,
        start,
        'MCPGateway' AS request_type,
        'MCP' AS span_type,
        latency,
        FALSE AS is_streaming,
        status,
        '/api/llm/mcp/' || server AS path,
        status >= 400 AS is_failure,
        NULL AS agent
    FROM mcp_requests
),

-- An agent's run holds a model request of the same trace and some more work.
agent_runs AS (
    SELECT
        id,
        2::UBIGINT AS kind_no,
        moment AS start,
        'AgentResponse' AS request_type,
        'Agent' AS span_type,
        latency + floor(180000 * spread(id, 'agent work'))::BIGINT AS latency,
        TRUE AS is_streaming,
        status,
        '/api/llm/agent/responses' AS path,
        is_failure,
        pick(getvariable('agents'), subject_no * 4 + bits(id, 'agent turn') % 2, 'agent') AS agent
    FROM outcomes JOIN context USING (id)
    WHERE model_type = 'chat' AND NOT is_jump AND chance(id, 'is agent') < 0.06
),

entries AS (
    FROM model_requests
    UNION ALL BY NAME FROM tool_requests
    UNION ALL BY NAME FROM agent_runs
)

SELECT
    "TraceId",
    span_id(id * 4 + kind_no, 'request span') AS "SpanId",
    instant(start) AS "CreatedAt",
    "ConversationId",
    request_type AS "RequestType",
    span_type AS "SpanType",
    latency / 100 AS "LatencyMs",
    entries.is_streaming AS "Streaming",
    status::INTEGER AS "HttpStatusCode",
    'POST' AS "RequestMethod",
    path AS "RequestPath",
    "Metadata",
    "CreatedBySubjectSlug",
    "CreatedBySubjectType",
    "Teams",
    "CreatedBySubjectId",
    "CreatedBySubject",
    is_failure AS "IsFailure",
    agent.name AS "AgentName",
    agent.framework AS "AgentFramework",
    agent.server AS "AgentServerType"
FROM entries JOIN context USING (id)
