CREATE FUNCTION usher.rotate_cursors(full_table integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '50ms'
AS $$
BEGIN
    BEGIN
        IF full_table = 0 THEN
            LOCK TABLE usher.subscription_cursors_a IN ACCESS EXCLUSIVE MODE;
            INSERT INTO usher.subscription_cursors_b
                SELECT DISTINCT ON (c.subscription_id, c.partition) c.* FROM usher.subscription_cursors_a c
                JOIN usher.subscriptions USING (subscription_id)
                ORDER BY c.subscription_id, c.partition, c.number DESC;
            TRUNCATE usher.subscription_cursors_a;
        ELSE
            LOCK TABLE usher.subscription_cursors_b IN ACCESS EXCLUSIVE MODE;
            INSERT INTO usher.subscription_cursors_a
                SELECT DISTINCT ON (c.subscription_id, c.partition) c.* FROM usher.subscription_cursors_b c
                JOIN usher.subscriptions USING (subscription_id)
                ORDER BY c.subscription_id, c.partition, c.number DESC;
            TRUNCATE usher.subscription_cursors_b;
        END IF;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
    END;
    RETURN true;
END
$$;
COMMENT ON FUNCTION usher.rotate_cursors IS
'Internal, for the housekeeping worker: carry the newest rows of the table of cursors that is not filled any more over to the other, and truncate it. Waits at most 50 ms for those who still use it; false: try again.';
