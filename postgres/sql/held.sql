-- The status of the live entry of a key that is this holder's.
SELECT e.status FROM idempotency_entry AS e
WHERE e.key = $2 AND e.holder_id = $3 AND e.expires_at > coalesce($1::timestamptz, clock_timestamp())
