CREATE FUNCTION usher.carry_cursors(full_table integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF full_table = 0 THEN
        INSERT INTO usher.subscription_cursors_b
            SELECT n.subscription_id, n.number, array_agg(n.partition), array_agg(n.position)
            FROM (SELECT DISTINCT ON (c.subscription_id, p.partition) c.subscription_id, c.number, p.partition, p.position
                  FROM usher.subscription_cursors_a c
                  CROSS JOIN LATERAL unnest(c.partitions, c.positions) AS p (partition, position)
                  JOIN usher.subscriptions s USING (subscription_id)
                  ORDER BY c.subscription_id, p.partition, c.number DESC) n
            WHERE NOT EXISTS (SELECT FROM usher.subscription_cursors_b o
                              WHERE o.subscription_id = n.subscription_id AND o.number >= n.number AND n.partition = ANY (o.partitions))
            GROUP BY n.subscription_id, n.number;
    ELSE
        INSERT INTO usher.subscription_cursors_a
            SELECT n.subscription_id, n.number, array_agg(n.partition), array_agg(n.position)
            FROM (SELECT DISTINCT ON (c.subscription_id, p.partition) c.subscription_id, c.number, p.partition, p.position
                  FROM usher.subscription_cursors_b c
                  CROSS JOIN LATERAL unnest(c.partitions, c.positions) AS p (partition, position)
                  JOIN usher.subscriptions s USING (subscription_id)
                  ORDER BY c.subscription_id, p.partition, c.number DESC) n
            WHERE NOT EXISTS (SELECT FROM usher.subscription_cursors_a o
                              WHERE o.subscription_id = n.subscription_id AND o.number >= n.number AND n.partition = ANY (o.partitions))
            GROUP BY n.subscription_id, n.number;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION usher.carry_cursors IS
'Internal, for the housekeeping worker: copy the newest rows of the table of cursors (0: a, 1: b) that is full into the other.';
