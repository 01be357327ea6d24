-- The claim of a key that has no row: the cheap form of put.sql for when claims are fresh as a rule. No row: ask put.sql.
INSERT INTO idempotency_entry AS e (
    created_at, touched_at, expires_at, ttl, lease, attempt, status, key, holder_id, fingerprint, session_id
)
SELECT now, now, now + $3::interval, $3, $4::interval, 1, 1, $2::text, $5::text, $6::text, $7::text
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
ON CONFLICT (key) DO NOTHING
RETURNING e.created_at
