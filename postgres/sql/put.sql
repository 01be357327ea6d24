-- The live entry of a key, or else the claim of it: then put_at is its time. Neither: another claim came between the two
-- halves; ask again. Both halves judge by one clock whether the entry is live: a loser of a race for a dead row must not
-- be handed the dead row.
WITH live AS MATERIALIZED (
    SELECT clock.now, idempotency_columns
    FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
    LEFT JOIN idempotency_entry AS e ON e.key = $2 AND e.expires_at > clock.now
), put AS (
    INSERT INTO idempotency_entry AS e (
        created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status,
        key, holder_id, fingerprint, session_id, result_blob, result_raw
    )
    SELECT now, now, now + $3::interval, CASE WHEN $5 = 2 THEN now + $3 END, $3, $4::interval, 1, $5::smallint,
        $2::text, $6::text, $7::text, $8::text, $9::jsonb, $10::bytea
    FROM live
    WHERE live.key IS NULL
    ON CONFLICT (key) DO UPDATE SET
        created_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        touched_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        expires_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond') + excluded.ttl,
        due_at = CASE WHEN excluded.status = 2
            THEN greatest(excluded.created_at, e.created_at + interval '1 microsecond') + excluded.ttl END,
        ttl = excluded.ttl, lease = excluded.lease, attempt = 1, status = excluded.status,
        holder_id = excluded.holder_id, fingerprint = excluded.fingerprint, session_id = excluded.session_id,
        result_blob = excluded.result_blob, result_raw = excluded.result_raw
    WHERE e.expires_at <= excluded.created_at
    RETURNING e.created_at, CASE WHEN e.watched THEN pg_notify($11, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
)
SELECT e.now, put.created_at AS put_at, idempotency_columns
FROM live AS e LEFT JOIN put ON true
WHERE e.key IS NOT NULL OR put.created_at IS NOT NULL
