-- Marks the entries of keys as waited for. The row's lock orders the mark against every change: a change is either before
-- the mark, and visible to whoever looks after it, or sees the mark and tells. Returned are the keys that were marked.
UPDATE idempotency_entry AS e SET watched = true
WHERE e.key = ANY ($1::text[]) AND NOT e.watched
RETURNING e.key
