-- done.sql for the completions of a batch, whose keys differ and are in order: the keys of those that were made. No row: ask
-- done.sql, for a row that was just changed by another transaction is passed over. The rows are locked in the order of
-- the keys, so two batches cannot deadlock, and then changed where they are. That the limit is a parameter makes the planner
-- expect a row or two, so that it fetches them by their place and never scans the table, however small it was when the
-- plan was made.
WITH held AS MATERIALIZED (
    SELECT c.blob, c.raw, c.ttl, clock.now, e.place
    FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
    CROSS JOIN unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::interval[]) AS c (key, holder, blob, raw, ttl)
    CROSS JOIN LATERAL (
        SELECT e.ctid AS place FROM idempotency_entry AS e
        WHERE e.key = c.key AND e.holder_id = c.holder AND e.status < 2 AND e.expires_at > clock.now
        FOR UPDATE
    ) AS e
    LIMIT $8
)
UPDATE idempotency_entry AS e SET
    status = 2, result_blob = nullif(held.blob, '')::jsonb, result_raw = held.raw, ttl = held.ttl,
    touched_at = greatest(held.now, e.created_at),
    expires_at = greatest(held.now, e.created_at) + held.ttl,
    due_at = greatest(held.now, e.created_at) + held.ttl
FROM held
WHERE e.ctid = held.place
RETURNING e.key, CASE WHEN e.watched THEN pg_notify($7, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
