-- Marks the entries of keys as waited for. The row's lock orders the mark against every change: a change is either before
-- the mark, and visible to whoever looks after it, or sees the mark and tells. Returned are the keys whose entries were
-- marked already: of the others, changes may have been told to nobody.
WITH marked AS (
    UPDATE idempotency_entry AS e SET watched = true
    WHERE e.key = ANY ($1::text[]) AND NOT e.watched
)
SELECT e.key FROM idempotency_entry AS e WHERE e.key = ANY ($1::text[]) AND e.watched
