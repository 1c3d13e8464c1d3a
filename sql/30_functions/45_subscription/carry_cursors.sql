CREATE FUNCTION usher.carry_cursors(full_table integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF full_table = 0 THEN
        INSERT INTO usher.subscription_cursors_b
            SELECT n.* FROM (SELECT DISTINCT ON (c.subscription_id, c.partition) c.* FROM usher.subscription_cursors_a c
                              JOIN usher.subscriptions s USING (subscription_id)
                              ORDER BY c.subscription_id, c.partition, c.number DESC) n
            WHERE NOT EXISTS (SELECT FROM usher.subscription_cursors_b o
                              WHERE o.subscription_id = n.subscription_id AND o.partition = n.partition AND o.number >= n.number);
    ELSE
        INSERT INTO usher.subscription_cursors_a
            SELECT n.* FROM (SELECT DISTINCT ON (c.subscription_id, c.partition) c.* FROM usher.subscription_cursors_b c
                              JOIN usher.subscriptions s USING (subscription_id)
                              ORDER BY c.subscription_id, c.partition, c.number DESC) n
            WHERE NOT EXISTS (SELECT FROM usher.subscription_cursors_a o
                              WHERE o.subscription_id = n.subscription_id AND o.partition = n.partition AND o.number >= n.number);
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION usher.carry_cursors IS
'Internal, for the housekeeping worker: copy the newest rows of the table of cursors (0: a, 1: b) that is full into the other.';
