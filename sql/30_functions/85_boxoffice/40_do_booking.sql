CREATE FUNCTION boxoffice.do_booking(tenant integer, booking uuid, user_id text)
RETURNS boxoffice.booking
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b boxoffice.booking := boxoffice.booking_row(tenant, booking);
BEGIN
    IF b.booking_id IS NULL OR b.user_id <> do_booking.user_id THEN
        RAISE EXCEPTION 'there is no booking %', coalesce(booking::text, 'null') USING ERRCODE = 'US038';
    END IF;
    RETURN b;
END
$$;
COMMENT ON FUNCTION boxoffice.do_booking IS 'Internal: boxoffice.booking, for a tenant.';
