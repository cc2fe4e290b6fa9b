-- What stands beside the models: MCP servers, guardrails, agents, rules.

CREATE TABLE tools AS
SELECT
    *,
    'https://mcp.example.com/' || server AS url,
    'mcp-' || left(md5(server), 12) AS server_id
FROM (VALUES
    ('github', 34, 420.0, 0.02,
        ['search_code', 'get_pull_request', 'create_issue', 'list_commits']),
    ('tickets', 24, 310.0, 0.03, ['find_ticket', 'update_ticket', 'add_comment']),
    ('warehouse', 18, 1400.0, 0.06, ['run_query', 'describe_table', 'list_tables']),
    ('web-search', 14, 900.0, 0.04, ['search', 'open_page']),
    ('calendar', 10, 180.0, 0.01, ['list_events', 'create_event'])
) AS list (server, share, typical_ms, error_rate, names);

SET VARIABLE server_wheel = (
    SELECT list(server ORDER BY server, turn) FROM tools, range(share) AS turns (turn)
);

SET VARIABLE method_wheel = (
    SELECT list(method ORDER BY method, turn)
    FROM (VALUES
        ('tools/call', 56), ('tools/list', 20), ('initialize', 14),
        ('prompts/list', 5), ('resources/list', 3), ('ping', 2)
    ) AS list (method, share), range(share) AS turns (turn)
);

-- One line for each place where a guardrail stands; `share` of the guarded requests.
CREATE TABLE guardrails AS
SELECT
    row_number() OVER (ORDER BY guardrail, scope) - 1 AS guardrail_no,
    *,
    'grd-' || left(md5(guardrail), 12) AS guardrail_id
FROM (VALUES
    ('pii-redaction', 'input', 'presidio', 0.70, 45.0, 0.060, 0.006),
    ('pii-redaction', 'output', 'presidio', 0.45, 48.0, 0.021, 0.006),
    ('prompt-injection', 'input', 'prompt-guard', 0.60, 85.0, 0.034, 0.011),
    ('toxicity', 'output', 'openai-moderation', 0.40, 190.0, 0.008, 0.019),
    ('secrets-scan', 'input', 'trufflehog', 0.25, 18.0, 0.013, 0.002),
    ('topic-fence', 'input', 'custom', 0.20, 260.0, 0.095, 0.024)
) AS list (guardrail, scope, integration, share, typical_ms, fail_rate, error_rate);

SET VARIABLE agents = [
    {'name': 'ticket-triage', 'framework': 'langgraph', 'server': 'a2a'},
    {'name': 'code-reviewer', 'framework': 'openai-agents', 'server': 'http'},
    {'name': 'contract-reader', 'framework': 'crewai', 'server': 'a2a'},
    {'name': 'research-helper', 'framework': 'langgraph', 'server': 'hosted'}
];

SET VARIABLE ratelimit_rules = [
    'chat-per-user', 'chat-per-user', 'tokens-per-team', 'batch-hourly'
];
SET VARIABLE budget_rules = ['team-monthly', 'team-monthly', 'account-daily'];
