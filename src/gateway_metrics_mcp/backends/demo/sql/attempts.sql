-- Which models each request tried: a virtual model goes through its targets until one answers.
CREATE TABLE attempts AS
WITH RECURSIVE walks AS (
    SELECT
        requests.id,
        requests.model,
        requests.virtual_model,
        requests.cache_status IS NOT DISTINCT FROM 'hit' AS is_hit,
        -- By priority the walk begins at the first target, by weight anywhere.
        if(strategy = 'weight', bits(id, 'first target') % 3, 0)::UBIGINT AS first_place
    FROM requests
    LEFT JOIN (SELECT DISTINCT virtual_model, strategy FROM routes) USING (virtual_model)
),

tried AS (
    SELECT walks.*, 0::UBIGINT AS attempt, NULL::VARCHAR AS target, TRUE AS is_failure
    FROM walks
    UNION ALL
    SELECT
        tried.* EXCLUDE (attempt, target, is_failure),
        attempt + 1,
        models.model,
        NOT is_hit AND chance(id * 4 + attempt, 'failure')
        < failure_rate * if(tried.virtual_model IS NULL, 1, 3)
    FROM tried
    LEFT JOIN routes
        ON routes.virtual_model = tried.virtual_model
        AND place = (first_place + attempt) % 3 + 1
    JOIN models ON models.model = coalesce(tried.model, routes.model)
    WHERE is_failure AND attempt < if(tried.virtual_model IS NULL, 1, 3)
)

SELECT id, attempt, id * 4 + attempt - 1 AS call_id, target AS model, is_failure
FROM tried WHERE attempt > 0;
