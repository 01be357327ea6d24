-- A completion by the holder. No row: it does not hold the key, or it has completed it before; see held.sql.
UPDATE idempotency_entry AS e SET
    status = 2, result_blob = $4::jsonb, result_raw = $5::bytea, ttl = $6::interval,
    touched_at = greatest(clock.now, e.created_at),
    expires_at = greatest(clock.now, e.created_at) + $6::interval,
    due_at = greatest(clock.now, e.created_at) + $6::interval
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.key = $2 AND e.holder_id = $3 AND e.status < 2 AND e.expires_at > clock.now
RETURNING CASE WHEN e.watched THEN pg_notify($7, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
