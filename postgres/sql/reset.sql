-- The removal of a claim by its holder, or of a holder that was silent since the cutoff.
DELETE FROM idempotency_entry AS e
WHERE e.key = $2 AND e.holder_id = $3 AND e.status < 2
    AND e.expires_at > coalesce($1::timestamptz, clock_timestamp())
    AND ($4::timestamptz IS NULL OR e.touched_at < $4)
RETURNING CASE WHEN e.watched THEN pg_notify($5, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
