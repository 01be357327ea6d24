-- Whose the row of a key is, alive or dead, as soon as nobody else is changing it.
SELECT e.holder_id, e.status FROM idempotency_entry AS e WHERE e.key = $1 FOR UPDATE
