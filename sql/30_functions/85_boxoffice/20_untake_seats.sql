CREATE FUNCTION boxoffice.untake_seats(tenant integer, zone bigint, labels text[], booking uuid)
RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE boxoffice.seats s SET booking_id = NULL WHERE s.tenant_id = tenant AND s.zone_id = zone AND s.label = ANY (labels) AND s.booking_id = booking;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION boxoffice.untake_seats IS
'Internal: what take_seats gave to a booking that is not made after all is free again. Returns null.';
