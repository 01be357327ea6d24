-- A page of live entries in the order of their keys.
SELECT clock.now, NULL, idempotency_columns
FROM idempotency_entry AS e, (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.key > $2 AND e.expires_at > clock.now
ORDER BY e.key
LIMIT $3
