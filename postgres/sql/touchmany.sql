-- touch.sql for the heartbeats of a batch, as donemany.sql is for completions.
WITH held AS MATERIALIZED (
    SELECT clock.now, e.place
    FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
    CROSS JOIN unnest($2::text[], $3::text[]) AS c (key, holder)
    CROSS JOIN LATERAL (
        SELECT e.ctid AS place FROM idempotency_entry AS e
        WHERE e.key = c.key AND e.holder_id = c.holder AND e.status < 2 AND e.expires_at > clock.now
        FOR UPDATE
    ) AS e
    LIMIT $4
)
UPDATE idempotency_entry AS e SET
    touched_at = greatest(e.touched_at, held.now),
    expires_at = greatest(e.touched_at, held.now) + e.ttl
FROM held
WHERE e.ctid = held.place
RETURNING e.key
