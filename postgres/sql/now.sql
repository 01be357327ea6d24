-- The clock that every statement judges and stamps by.
SELECT coalesce($1::timestamptz, clock_timestamp())
