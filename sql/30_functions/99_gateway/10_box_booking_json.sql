CREATE FUNCTION usher.box_booking_json(tenant integer, booking uuid)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- (not SQL: a statement of it would be planned for each booking)
    RETURN (SELECT boxoffice.booking_json(b.tenant_id, b.booking_id) || jsonb_build_object('code', b.code)
    FROM boxoffice.bookings b WHERE b.tenant_id = tenant AND b.booking_id = booking);
END
$$;
COMMENT ON FUNCTION usher.box_booking_json IS 'Internal: a booking as the gateway replies it, with its code; null: there is none.';
