-- The live entry of a key, or else the claim of it. No row: another claim came between the two halves; ask again.
-- Both halves read one clock, and both judge by it whether the entry is live: a loser of a race for a dead row must not be
-- handed the dead row.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1::timestamptz, clock_timestamp()) AS now
), live AS MATERIALIZED (
    SELECT e.* FROM idempotency_entry AS e, clock WHERE e.key = $2 AND e.expires_at > clock.now
), put AS (
    INSERT INTO idempotency_entry AS e (
        created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status,
        key, holder_id, fingerprint, session_id, result_blob, result_raw
    )
    SELECT now, now, now + $3::interval, now + $3::interval, $3::interval, $4::interval, 1, $5::smallint,
        $2::text, $6::text, $7::text, $8::text, $9::jsonb, $10::bytea
    FROM clock
    WHERE NOT EXISTS (SELECT FROM live)
    ON CONFLICT (key) DO UPDATE SET
        created_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        touched_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        expires_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond') + excluded.ttl,
        due_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond') + excluded.ttl,
        ttl = excluded.ttl, lease = excluded.lease, attempt = 1, status = excluded.status,
        holder_id = excluded.holder_id, fingerprint = excluded.fingerprint, session_id = excluded.session_id,
        result_blob = excluded.result_blob, result_raw = excluded.result_raw
    WHERE e.expires_at <= excluded.created_at
    RETURNING e.*, CASE WHEN e.watched THEN pg_notify($11, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
)
SELECT clock.now, true AS inserted, idempotency_columns FROM put AS e, clock
UNION ALL
SELECT clock.now, false, idempotency_columns FROM live AS e, clock
