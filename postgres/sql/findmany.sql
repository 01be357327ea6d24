-- The live entries of many keys, each looked up by the index.
SELECT clock.now, NULL, idempotency_columns
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
CROSS JOIN unnest($2::text[]) AS c (key)
CROSS JOIN LATERAL (
    SELECT e.* FROM idempotency_entry AS e WHERE e.key = c.key AND e.expires_at > clock.now OFFSET 0
) AS e
