-- About three requests to MCP servers for every ten model requests, by the same callers.
CREATE TABLE mcp_requests AS
WITH sent AS (
    SELECT
        id,
        later(moment, 20 + 6000 * chance(id, 'mcp moment')) AS start,
        pick(getvariable('method_wheel'), id, 'mcp method') AS method,
        pick(getvariable('server_wheel'), id, 'mcp server') AS server
    FROM requests WHERE NOT is_jump AND chance(id, 'sends mcp') < 0.3
),

tried AS (
    SELECT
        sent.*,
        tools.* EXCLUDE (server, share),
        method = 'tools/call' AS is_call,
        method LIKE '%/list' AND chance(id, 'mcp cached') < 0.6 AS is_cached,
        CASE
            WHEN is_cached THEN 200
            WHEN chance(id, 'mcp refused') < 0.006 THEN 401
            WHEN chance(id, 'mcp refused') < 0.006 + error_rate / 4 THEN 502
            WHEN chance(id, 'mcp refused') < 0.006 + error_rate / 2 THEN 504
            ELSE 200
        END AS status
    FROM sent JOIN tools USING (server)
)

SELECT
    * EXCLUDE (names, typical_ms, error_rate),
    if(is_call, pick(names, id, 'mcp tool'), NULL) AS tool,
    is_call AND status = 200 AND chance(id, 'tool fails') < error_rate AS is_tool_error,
    CASE
        WHEN status = 401 THEN -32001
        WHEN status > 200 THEN -32603
        WHEN is_call AND chance(id, 'bad arguments') < 0.01 THEN -32602
    END AS error_code,
    floor(100 * CASE
        WHEN is_cached THEN 2 * spread(id, 'mcp time')
        WHEN status = 504 THEN 30000 + 20 * chance(id, 'mcp time')
        WHEN is_call THEN typical_ms * spread(id, 'mcp time') * mild_spread(id, 'mcp work')
        ELSE 20 + 0.15 * typical_ms * spread(id, 'mcp time')
    END)::BIGINT AS latency
FROM tried;
