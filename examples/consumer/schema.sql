-- Several consumers may start at once: they make the tables one after the other.
SELECT pg_advisory_xact_lock(7201958);

-- The outside world. It does not know that a message is to be applied once: whatever slips past shows as a second line.
CREATE TABLE IF NOT EXISTS consumer_ledger (
    line    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key     text NOT NULL,
    account text NOT NULL,
    amount  bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS consumer_ledger_key ON consumer_ledger (key); -- not unique, see above

-- Mode recover only: the highest fence that has asked or added under a key. An attempt with a lower one was overtaken.
CREATE TABLE IF NOT EXISTS consumer_fence (
    key   text PRIMARY KEY,
    fence bigint NOT NULL
);
