-- insert.sql for the claims of a batch, whose keys differ: of each that was made its time and key.
INSERT INTO idempotency_entry AS e (
    created_at, touched_at, expires_at, ttl, lease, attempt, status, key, holder_id, fingerprint, session_id
)
SELECT now, now, now + c.ttl, c.ttl, c.lease, 1, 1, c.key, c.holder, c.print, c.session
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
CROSS JOIN unnest($2::text[], $3::interval[], $4::interval[], $5::text[], $6::text[], $7::text[])
    AS c (key, ttl, lease, holder, print, session)
ORDER BY c.key COLLATE "C"
ON CONFLICT (key) DO NOTHING
RETURNING e.created_at, e.key
