-- Somebody waits for this key: whoever changes the row from now on tells (NOTIFY). Rows that nobody waits for cost no
-- notification, whose lock would make all commits of the database queue up.
ALTER TABLE idempotency_entry ADD COLUMN watched boolean NOT NULL DEFAULT false;
