-- sweep.sql for expired claims. Their index knows when a claim was made and not when it ends, which heartbeats move: so it
-- is walked from the oldest on, as for silent holders, and the cost grows with the claims in flight.
WITH due AS MATERIALIZED (
    SELECT e.ctid, e.created_at
    FROM idempotency_entry AS e, (SELECT least($2::timestamptz, coalesce($1::timestamptz, clock_timestamp())) AS now OFFSET 0) AS clock
    WHERE e.status = 1 AND e.created_at <= clock.now AND ($3::timestamptz IS NULL OR e.created_at >= $3)
        AND e.expires_at <= clock.now
    ORDER BY e.created_at
    LIMIT $4
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_entry AS e WHERE e.ctid = ANY (ARRAY(SELECT ctid FROM due))
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM due), (SELECT max(created_at) FROM due)
