CREATE FUNCTION boxoffice.do_begin_refund(tenant integer, booking uuid)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b boxoffice.bookings := boxoffice.locked_booking(tenant, booking, NULL);
BEGIN
    IF b.status = 'refund_pending' THEN
        RETURN boxoffice.booking_row(tenant, booking);
    END IF;
    b.status := 'refund_pending';
    RETURN boxoffice.record(b, 'booking.refund_pending', jsonb_build_object('refund_due', b.refund_due));
END
$$;
COMMENT ON FUNCTION boxoffice.do_begin_refund IS 'Internal: boxoffice.begin_refund, for a tenant.';
