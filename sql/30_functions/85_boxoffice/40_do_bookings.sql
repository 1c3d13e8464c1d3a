CREATE FUNCTION boxoffice.do_bookings(tenant integer, user_id text, status text, after uuid, max integer)
RETURNS SETOF boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max IS NULL OR max NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'max must be 1 to 1000' USING ERRCODE = 'US018';
    END IF;
    RETURN QUERY SELECT r.* FROM (
            SELECT b.booking_id FROM boxoffice.bookings b
            WHERE b.tenant_id = tenant AND b.user_id = do_bookings.user_id AND (do_bookings.status IS NULL OR b.status = do_bookings.status)
              AND (after IS NULL OR b.booking_id > after)
            ORDER BY b.booking_id LIMIT max) p
        CROSS JOIN LATERAL boxoffice.booking_row(tenant, p.booking_id) r ORDER BY p.booking_id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_bookings IS 'Internal: boxoffice.bookings, for a tenant.';
