CREATE FUNCTION boxoffice.free_seats(tenant integer, booking uuid)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE boxoffice.seats s SET booking_id = NULL
    FROM boxoffice.booking_items i
    WHERE i.tenant_id = tenant AND i.booking_id = booking AND i.seats IS NOT NULL AND NOT i.cancelled
      AND s.tenant_id = i.tenant_id AND s.zone_id = i.zone_id AND s.label = ANY (i.seats) AND s.booking_id = i.booking_id
$$;
COMMENT ON FUNCTION boxoffice.free_seats IS
'Internal: the numbered seats of a locked booking that holds them come free with this commit.';
