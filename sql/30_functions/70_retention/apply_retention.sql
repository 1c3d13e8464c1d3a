CREATE FUNCTION usher.apply_retention()
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    policy   usher.retention;
    before   bigint := 0;
    bytes    numeric := 0;
    p        record;
    newest   timestamptz;
BEGIN
    SELECT r.* INTO policy FROM usher.retention r;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    IF policy.max_age IS NOT NULL THEN
        FOR p IN SELECT * FROM usher.partition_list() l ORDER BY l.from_position LOOP
            SELECT l.recorded_at INTO newest FROM usher.log l
            WHERE l.position >= p.to_position ORDER BY l.position LIMIT 1;
            EXIT WHEN NOT FOUND OR newest >= now() - policy.max_age;
            before := p.to_position;
        END LOOP;
    END IF;
    IF policy.max_bytes IS NOT NULL THEN
        FOR p IN SELECT * FROM usher.partition_list() l ORDER BY l.from_position DESC LOOP
            bytes := bytes + pg_total_relation_size(p.partition);
            IF bytes > policy.max_bytes THEN
                before := greatest(before, p.to_position);
                EXIT;
            END IF;
        END LOOP;
    END IF;
    IF before > 0 THEN
        PERFORM usher.drop_partitions_before(before);
    END IF;
    RETURN before;
END
$$;
COMMENT ON FUNCTION usher.apply_retention IS
'Ask for the removal of what the retention no longer keeps; returns the position below which it goes (0: nothing). usher.schedule_maintenance() has pg_cron call it.';
