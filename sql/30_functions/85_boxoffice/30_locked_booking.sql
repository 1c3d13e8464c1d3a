CREATE FUNCTION boxoffice.locked_booking(tenant integer, booking uuid, user_id text)
RETURNS boxoffice.bookings
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b boxoffice.bookings;
BEGIN
    SELECT t.* INTO b FROM boxoffice.bookings t WHERE t.tenant_id = tenant AND t.booking_id = booking FOR NO KEY UPDATE;
    IF NOT FOUND OR b.user_id <> locked_booking.user_id THEN
        RAISE EXCEPTION 'there is no booking %', coalesce(booking::text, 'null') USING ERRCODE = 'US038';
    END IF;
    RETURN b;
END
$$;
COMMENT ON FUNCTION boxoffice.locked_booking IS
'Internal: a booking, locked. user_id: whose it must be, null: anybody''s. Error: US038 unknown_booking.';
