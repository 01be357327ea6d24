-- Holders that are live but silent since the cutoff, oldest sign of life first. An entry that was touched before the
-- cutoff was created before it, which is what the index knows: the cost grows with the claims in flight that are older than
-- the cutoff.
SELECT clock.now, NULL, idempotency_columns
FROM idempotency_entry AS e, (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.status = 1 AND e.created_at < $2 AND e.touched_at < $2 AND e.expires_at > clock.now
ORDER BY e.touched_at, e.key
LIMIT $3
