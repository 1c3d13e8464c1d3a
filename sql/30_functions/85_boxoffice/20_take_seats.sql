CREATE FUNCTION boxoffice.take_seats(tenant integer, zone bigint, labels text[], booking uuid)
RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mine text[];
BEGIN
    SELECT array_agg(f.label) INTO mine
    FROM (SELECT s.label FROM boxoffice.seats s
          WHERE s.tenant_id = tenant AND s.zone_id = zone AND s.label = ANY (labels) AND s.booking_id IS NULL
          ORDER BY s.label FOR NO KEY UPDATE SKIP LOCKED) f;
    IF coalesce(cardinality(mine), 0) < cardinality(labels) THEN
        -- (a label that stands twice is missing once)
        RETURN (SELECT array_agg(m.label ORDER BY m.label) FROM (SELECT l.label FROM unnest(labels) AS l (label) EXCEPT ALL SELECT unnest(mine)) m);
    END IF;
    UPDATE boxoffice.seats s SET booking_id = booking WHERE s.tenant_id = tenant AND s.zone_id = zone AND s.label = ANY (mine);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION boxoffice.take_seats IS
'Internal: give seats to a booking, all or none. Returns null, or those that are taken, locked by others or do not exist.';
