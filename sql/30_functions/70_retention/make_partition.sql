CREATE FUNCTION usher.make_partition(from_position bigint, to_position bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partition text := format('log_p%s', lpad(from_position::text, 13, '0'));
    owner     text;
BEGIN
    SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class c WHERE c.oid = 'usher.log'::regclass;
    -- Built aside and then attached: this needs no lock that an appender or a reader waits for.
    EXECUTE format('CREATE TABLE usher.%I (LIKE usher.log INCLUDING ALL, CHECK (position >= %s AND position < %s))',
                   partition, from_position, to_position);
    PERFORM usher.index_partition(format('usher.%I', partition)::regclass);
    EXECUTE format('ALTER TABLE usher.%I OWNER TO %I', partition, owner);
    EXECUTE format('ALTER TABLE usher.%I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE usher.log ATTACH PARTITION usher.%I FOR VALUES FROM (%s) TO (%s)',
                   partition, from_position, to_position);
END
$$;
COMMENT ON FUNCTION usher.make_partition IS
'Internal: the partition of the log for from_position <= position < to_position. The housekeeping worker calls it ahead of need.';
