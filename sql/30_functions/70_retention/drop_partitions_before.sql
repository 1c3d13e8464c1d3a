CREATE FUNCTION usher.drop_partitions_before("position" bigint, force boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF drop_partitions_before.position IS NULL OR drop_partitions_before.position < 0 THEN
        RAISE EXCEPTION 'a position cannot be null or negative' USING ERRCODE = 'US018';
    END IF;
    INSERT INTO usher.removal_requests (before, force)
    VALUES (drop_partitions_before.position, coalesce(drop_partitions_before.force, false));
    PERFORM usher.poke_housekeeping();
END
$$;
COMMENT ON FUNCTION usher.drop_partitions_before IS
'Ask the housekeeping worker to remove the partitions that lie wholly below a position. Partitions that a cursor of usher.hold or a sink still needs stay, unless force (ask again once it has moved). It keeps categories with longer retention, waits at most 50 ms for a lock and tries again. The request takes effect when this transaction commits.';
