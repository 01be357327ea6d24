-- Large results are compressed with lz4, which is faster than the default; a server that was built without it, or is older
-- than 14, keeps the default.
DO $migrate$
BEGIN
    EXECUTE $migrate_sql$
        ALTER TABLE idempotency_entry
            ALTER COLUMN result_blob SET COMPRESSION lz4,
            ALTER COLUMN result_raw SET COMPRESSION lz4
    $migrate_sql$;
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
    NULL;
END
$migrate$;
