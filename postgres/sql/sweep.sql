-- One batch of a sweep: of the rows that are due, those that have expired go, and those that live on by their heartbeats
-- are put on a new due date. Rows that somebody else has locked are left to him. $3 is where the batch before ended, so that
-- the index entries of what it removed are not walked again.
WITH clock AS MATERIALIZED (
    SELECT least($2::timestamptz, coalesce($1::timestamptz, clock_timestamp())) AS now
), due AS MATERIALIZED (
    SELECT e.ctid, e.due_at, e.expires_at > clock.now AS lives
    FROM idempotency_entry AS e, clock
    WHERE e.due_at <= clock.now AND ($3::timestamptz IS NULL OR e.due_at >= $3)
    ORDER BY e.due_at
    LIMIT $4
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_entry AS e
    WHERE e.ctid = ANY (ARRAY(SELECT ctid FROM due WHERE NOT lives))
    RETURNING 1
), put_off AS (
    UPDATE idempotency_entry AS e SET due_at = e.expires_at
    WHERE e.ctid = ANY (ARRAY(SELECT ctid FROM due WHERE lives))
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM due), (SELECT max(due_at) FROM due)
