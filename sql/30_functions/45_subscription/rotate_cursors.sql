CREATE FUNCTION usher.rotate_cursors(old_table integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '50ms'
AS $$
BEGIN
    BEGIN
        -- Most of it was carried over long ago: there is left what came late. Who polls reads both tables, so he is shut out
        -- of this one only while it is truncated; whoever still had written to it is waited for before.
        IF old_table = 0 THEN
            LOCK TABLE usher.subscription_cursors_a IN SHARE MODE;
            PERFORM usher.carry_cursors(old_table);
            LOCK TABLE usher.subscription_cursors_a IN ACCESS EXCLUSIVE MODE;
            TRUNCATE usher.subscription_cursors_a;
        ELSE
            LOCK TABLE usher.subscription_cursors_b IN SHARE MODE;
            PERFORM usher.carry_cursors(old_table);
            LOCK TABLE usher.subscription_cursors_b IN ACCESS EXCLUSIVE MODE;
            TRUNCATE usher.subscription_cursors_b;
        END IF;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
    END;
    RETURN true;
END
$$;
COMMENT ON FUNCTION usher.rotate_cursors IS
'Internal, for the housekeeping worker: truncate the table of cursors (0: a, 1: b) that is not filled, having carried over what the other lacks. Waits at most 50 ms for those who use it; false: try again.';
