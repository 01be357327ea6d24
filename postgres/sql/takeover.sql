-- The replacement of a silent holder by another. No row: it was not silent, or not there; see find.sql.
UPDATE idempotency_entry AS e SET
    created_at = greatest(clock.now, e.created_at + interval '1 microsecond'),
    touched_at = greatest(clock.now, e.created_at + interval '1 microsecond'),
    expires_at = greatest(clock.now, e.created_at + interval '1 microsecond') + $5::interval,
    ttl = $5::interval, lease = $6::interval, attempt = e.attempt + 1,
    holder_id = $7::text, fingerprint = $8::text, session_id = $9::text
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.key = $2 AND e.holder_id = $3 AND e.holder_id <> $7 AND e.status < 2 AND e.expires_at > clock.now
    AND ($4::timestamptz IS NULL OR e.touched_at < $4)
RETURNING clock.now, CASE WHEN e.watched THEN pg_notify($10, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END,
    idempotency_columns
