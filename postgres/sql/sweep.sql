-- One batch of a sweep of expired results. Rows that somebody else has locked are left to him. $3 is where the batch before
-- ended, so that the index entries of what it removed are not walked again.
WITH due AS MATERIALIZED (
    SELECT e.ctid, e.due_at
    FROM idempotency_entry AS e, (SELECT least($2::timestamptz, coalesce($1::timestamptz, clock_timestamp())) AS now OFFSET 0) AS clock
    WHERE e.status = 2 AND e.due_at <= clock.now AND ($3::timestamptz IS NULL OR e.due_at >= $3)
    ORDER BY e.due_at
    LIMIT $4
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_entry AS e WHERE e.ctid = ANY (ARRAY(SELECT ctid FROM due))
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM due), (SELECT max(due_at) FROM due)
