-- One row per key. The names are those of the default table; the store puts the configured ones in their place.
--
-- Times are the database server's. due_at is the lower bound by which the sweeper finds what may have expired: it is
-- expires_at as of the claim or the completion, and a heartbeat, which moves expires_at, leaves it alone. So a
-- heartbeat changes no indexed column and stays a heap-only tuple; the sweeper moves due_at along when it meets a row
-- that lives on. For the same reason the index of the in-flight rows is on created_at, which a heartbeat does not move.
CREATE TABLE idempotency_entry (
    created_at  timestamptz NOT NULL,
    touched_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    ttl         interval    NOT NULL,
    lease       interval    NOT NULL,
    attempt     integer     NOT NULL,
    status      smallint    NOT NULL CHECK (status IN (1, 2)), -- 1 in flight, 2 done
    key         text COLLATE "C" NOT NULL,
    holder_id   text        NOT NULL,
    fingerprint text        NOT NULL,
    session_id  text        NOT NULL,
    result_blob jsonb, -- the result, unless
    result_raw  bytea, -- it is a document that jsonb cannot carry: then its exact bytes
    CONSTRAINT idempotency_entry_pkey PRIMARY KEY (key)
) WITH (
    -- Room on each page for the next version of a row, so that heartbeats and completions stay on it.
    fillfactor = 80,
    -- Every completion, heartbeat and sweep leaves a dead row version: vacuum when there are 5 % of them, not the default
    -- 20 %, which a large table reaches late.
    autovacuum_vacuum_scale_factor = 0.05
);

-- What may have expired, oldest first: the sweeper.
CREATE INDEX idempotency_entry_due ON idempotency_entry (due_at);

-- What is in flight: the search for silent holders. The predicate is an equality on purpose: a guard of the form
-- "status < 2" does not imply it, so a statement on one key is never tempted away from the primary key.
CREATE INDEX idempotency_entry_in_flight ON idempotency_entry (created_at) WHERE status = 1;
