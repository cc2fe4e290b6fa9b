SELECT
    "TraceId",
    span_id(id, 'mcp span') AS "SpanId",
    instant(start) AS "CreatedAt",
    server_id AS "McpServerId",
    server AS "McpServerName",
    method AS "Method",
    tool AS "PrimitiveName",
    status::INTEGER AS "HttpStatusCode",
    latency / 100 AS "LatencyMs",
    error_code::INTEGER AS "ErrorCode",
    is_tool_error AS "IsToolCallExecutionError",
    "ConversationId",
    is_cached AS "IsCached",
    url AS "McpServerUrl",
    "Metadata",
    "CreatedBySubjectSlug",
    "CreatedBySubjectType",
    "Teams",
    "CreatedBySubjectId"
FROM mcp_requests JOIN context USING (id)
ORDER BY "CreatedAt", "SpanId"
