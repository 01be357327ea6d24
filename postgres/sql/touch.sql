-- A heartbeat of the holder. It moves no indexed column, and tells nobody: who waits looks at the lease by itself.
UPDATE idempotency_entry AS e SET
    touched_at = greatest(e.touched_at, clock.now),
    expires_at = greatest(e.touched_at, clock.now) + e.ttl
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
WHERE e.key = $2 AND e.holder_id = $3 AND e.status < 2 AND e.expires_at > clock.now
RETURNING 1
