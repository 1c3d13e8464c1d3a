CREATE FUNCTION usher.set_retention(max_age interval DEFAULT NULL, max_bytes bigint DEFAULT NULL, archive regprocedure DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF set_retention.archive IS NOT NULL THEN
        PERFORM usher.check_function(set_retention.archive, ARRAY['bigint', 'bigint']);
    END IF;
    INSERT INTO usher.retention (max_age, max_bytes, archive)
    VALUES (set_retention.max_age, set_retention.max_bytes, set_retention.archive::text)
    ON CONFLICT (singleton) DO UPDATE
        SET max_age = EXCLUDED.max_age, max_bytes = EXCLUDED.max_bytes, archive = EXCLUDED.archive;
END
$$;
COMMENT ON FUNCTION usher.set_retention IS
'Set the retention of the log: partitions whose events are all older than max_age, and the oldest ones while the log is larger than max_bytes, are removed by usher.apply_retention. Nulls switch either off. archive(from_position bigint, to_position bigint) is called before a partition goes, in the same transaction, as its owner and with search_path = pg_catalog, pg_temp; an error of it keeps the partition.';
