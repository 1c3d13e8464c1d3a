CREATE FUNCTION boxoffice.give_up(tenant integer, booking uuid, items integer[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    z record;
BEGIN
    FOR z IN SELECT i.zone_id, sum(i.quantity) AS quantity FROM boxoffice.booking_items i
             WHERE i.tenant_id = tenant AND i.booking_id = booking AND NOT i.cancelled AND (items IS NULL OR i.item = ANY (items))
             GROUP BY i.zone_id ORDER BY i.zone_id LOOP
        PERFORM boxoffice.zone_give(tenant, z.zone_id, z.quantity);
    END LOOP;
    UPDATE boxoffice.seats s SET booking_id = NULL
    FROM boxoffice.booking_items i
    WHERE i.tenant_id = tenant AND i.booking_id = booking AND NOT i.cancelled AND (items IS NULL OR i.item = ANY (items)) AND i.seats IS NOT NULL
      AND s.tenant_id = i.tenant_id AND s.zone_id = i.zone_id AND s.label = ANY (i.seats) AND s.booking_id = booking;
END
$$;
COMMENT ON FUNCTION boxoffice.give_up IS
'Internal: the places and seats of a locked booking that holds them, or of some of its items, come free with this commit. Before the rows are changed.';
