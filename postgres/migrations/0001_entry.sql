-- One row per key. The names are those of the default table; the store puts the configured ones in their place.
--
-- Times are the database server's. A heartbeat moves touched_at and expires_at and nothing else, and no index knows these
-- two, so it stays a heap-only tuple. That is why the index of what is in flight is on created_at, and why the sweeper
-- finds expired results by due_at, which is their expires_at, set once.
CREATE TABLE idempotency_entry (
    created_at  timestamptz NOT NULL,
    touched_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    due_at      timestamptz, -- of a result: expires_at; NULL in flight
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

-- Every row is in one of two indexes beside the primary key: a claim goes into the second, its completion into the first.

-- Recorded results, the first to expire first: the sweeper.
CREATE INDEX idempotency_entry_due ON idempotency_entry (due_at) WHERE status = 2;

-- What is in flight, the oldest claim first: the search for silent holders, and the sweeper again. The predicates are
-- equalities on purpose: a guard of the form "status < 2" does not imply them, so a statement on one key is never
-- tempted away from the primary key.
CREATE INDEX idempotency_entry_in_flight ON idempotency_entry (created_at) WHERE status = 1;
