CREATE FUNCTION boxoffice.pin_zones(tenant integer, bookings uuid[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM boxoffice.zone_pin(tenant, z.zone_id)
    FROM (SELECT DISTINCT i.zone_id FROM boxoffice.booking_items i WHERE i.tenant_id = tenant AND i.booking_id = ANY (bookings)) z;
END
$$;
COMMENT ON FUNCTION boxoffice.pin_zones IS 'Internal: pin the zones of bookings, before the rows of these are changed.';
