-- put.sql for the claims of a batch, whose keys differ and are in order: of each key the live entry or the claim of it, or
-- no row where another claim came between. The subquery is fenced off so that each key is looked up by the index,
-- however few rows the table had when the plan was made. The insertions keep the order of the keys, so two batches
-- cannot deadlock.
WITH live AS MATERIALIZED (
    SELECT clock.now, c.key AS claim_key, c.holder AS claim_holder, c.print AS claim_print, c.session AS claim_session,
        c.ttl AS claim_ttl, c.lease AS claim_lease, idempotency_columns
    FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock
    CROSS JOIN unnest($2::text[], $3::interval[], $4::interval[], $5::text[], $6::text[], $7::text[])
        AS c (key, ttl, lease, holder, print, session)
    LEFT JOIN LATERAL (
        SELECT e.* FROM idempotency_entry AS e WHERE e.key = c.key AND e.expires_at > clock.now OFFSET 0
    ) AS e ON true
), put AS (
    INSERT INTO idempotency_entry AS e (
        created_at, touched_at, expires_at, ttl, lease, attempt, status, key, holder_id, fingerprint, session_id
    )
    SELECT now, now, now + claim_ttl, claim_ttl, claim_lease, 1, 1,
        claim_key, claim_holder, claim_print, claim_session
    FROM live
    WHERE live.key IS NULL
    ORDER BY claim_key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET
        created_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        touched_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond'),
        expires_at = greatest(excluded.created_at, e.created_at + interval '1 microsecond') + excluded.ttl,
        due_at = NULL, ttl = excluded.ttl, lease = excluded.lease, attempt = 1, status = excluded.status,
        holder_id = excluded.holder_id, fingerprint = excluded.fingerprint, session_id = excluded.session_id,
        result_blob = NULL, result_raw = NULL
    WHERE e.expires_at <= excluded.created_at
    RETURNING e.key, e.created_at,
        CASE WHEN e.watched THEN pg_notify($8, encode(sha256(convert_to(e.key, 'UTF8')), 'hex')) END
)
SELECT e.now, NULL AS put_at, idempotency_columns FROM live AS e WHERE e.key IS NOT NULL
UNION ALL
SELECT (SELECT now FROM live LIMIT 1), put.created_at,
    put.key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM put
