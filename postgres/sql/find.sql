-- The live entry of a key.
SELECT clock.now, NULL, idempotency_columns
FROM idempotency_entry AS e, (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.key = $2 AND e.expires_at > clock.now
