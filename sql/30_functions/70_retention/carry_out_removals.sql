CREATE FUNCTION usher.carry_out_removals()
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '50ms'
AS $$
DECLARE
    wanted   bigint;
    oldest   record;
    needed   bigint;
    hook     text;
BEGIN
    SELECT max(r.before) INTO wanted FROM usher.removal_requests r;
    IF wanted IS NULL THEN
        RETURN 0;
    END IF;
    BEGIN
        needed := coalesce(usher.least_cursor(), 9223372036854775806);
        RAISE EXCEPTION USING ERRCODE = 'US000';
    EXCEPTION
        WHEN SQLSTATE 'US000' THEN NULL;        -- looking at the cursors of sinks must leave no lock on them
        WHEN lock_not_available OR deadlock_detected THEN RETURN 2;
    END;

    -- The oldest partition that lies below what is wanted, is decided, and is not what it would become.
    SELECT p.* INTO oldest
    FROM usher.partition_list() p
    LEFT JOIN usher.log_removals r USING (from_position)
    WHERE EXISTS (SELECT FROM usher.removal_requests w
                  WHERE p.to_position <= w.before AND (w.force OR p.to_position - 1 <= needed))
      AND p.to_position - 1 <= usher.stable_position()
      AND r.kept IS DISTINCT FROM usher.kept_categories(p.partition, p.from_position, p.to_position)
    ORDER BY p.from_position
    LIMIT 1;
    IF NOT FOUND THEN
        DELETE FROM usher.removal_requests r WHERE r.before <= wanted;
        RETURN 0;
    END IF;

    -- The work below is long: see first whether the locks are to be had at all.
    BEGIN
        EXECUTE format('LOCK TABLE ONLY usher.log, ONLY %s IN ACCESS EXCLUSIVE MODE', oldest.partition);
        RAISE EXCEPTION USING ERRCODE = 'US000';
    EXCEPTION
        WHEN SQLSTATE 'US000' THEN NULL;        -- they are; this block has let go of them
        WHEN lock_not_available OR deadlock_detected THEN RETURN 2;
    END;

    BEGIN
        SELECT r.archive INTO hook FROM usher.retention r;
        IF hook IS NOT NULL AND NOT EXISTS (SELECT FROM usher.log_removals r WHERE r.from_position = oldest.from_position) THEN
            PERFORM usher.call_archive(to_regprocedure(hook), oldest.from_position, oldest.to_position - 1);
        END IF;
        PERFORM usher.replace_partition(oldest.partition, oldest.from_position, oldest.to_position,
                                        usher.kept_categories(oldest.partition, oldest.from_position, oldest.to_position));
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN 2;
    END;
    RETURN 1;
END
$$;
COMMENT ON FUNCTION usher.carry_out_removals IS
'Internal, for the housekeeping worker: remove the oldest partition that is due. Waits at most 50 ms for a lock. Returns 0 when nothing is left to do, 1 when it did one, 2 when somebody reads there: try again.';
