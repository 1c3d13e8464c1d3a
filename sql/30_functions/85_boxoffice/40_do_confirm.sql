CREATE FUNCTION boxoffice.do_confirm(tenant integer, booking uuid, payment_ref text, user_id text)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b         boxoffice.bookings;
    e         boxoffice.events;
    published boolean;
BEGIN
    IF payment_ref IS NULL OR octet_length(payment_ref) NOT BETWEEN 1 AND 255 OR payment_ref ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'a payment has a reference of 1 to 255 bytes without control characters' USING ERRCODE = 'US018';
    END IF;
    SELECT t.* INTO b FROM boxoffice.bookings t WHERE t.tenant_id = tenant AND t.booking_id = booking;
    IF FOUND THEN
        PERFORM boxoffice.event_share(tenant, b.event_id);
        PERFORM boxoffice.user_lock(tenant, b.user_id);
    END IF;
    b := boxoffice.locked_booking(tenant, booking, user_id);
    IF b.payment_ref = do_confirm.payment_ref THEN
        RETURN boxoffice.booking_row(tenant, booking);
    END IF;
    IF b.payment_ref IS NOT NULL OR b.status NOT IN ('reserved', 'payment_pending', 'expired', 'cancelled') THEN
        RAISE EXCEPTION 'booking % is %', booking, b.status USING ERRCODE = 'US037',
            DETAIL = 'It has another payment.', HINT = 'Give the money back.';
    END IF;
    SELECT t.* INTO e FROM boxoffice.events t WHERE t.tenant_id = tenant AND t.event_id = b.event_id;
    published := e.status <> 'cancelled' AND NOT (SELECT s.cancelled FROM boxoffice.shows s WHERE s.tenant_id = tenant AND s.show_id = b.show_id);
    IF b.status IN ('reserved', 'payment_pending') AND NOT published THEN
        -- the sale was stopped, and this booking's turn to be cancelled has not come yet
        PERFORM boxoffice.do_cancel(tenant, booking, 'event cancelled', NULL, NULL);
        b := boxoffice.locked_booking(tenant, booking, NULL);
    END IF;
    b.payment_ref := do_confirm.payment_ref;
    IF b.status = 'cancelled' OR b.status = 'expired' AND NOT (published AND boxoffice.take_again(b, e.user_limit)) THEN
        b.status := 'payment_orphaned';
        b.refund_due := b.total;
        RETURN boxoffice.record(b, 'booking.payment_orphaned', jsonb_build_object('payment_ref', b.payment_ref, 'refund_due', b.refund_due));
    END IF;
    b.status := 'confirmed';
    RETURN boxoffice.record(b, 'booking.confirmed', jsonb_build_object('payment_ref', b.payment_ref));
END
$$;
COMMENT ON FUNCTION boxoffice.do_confirm IS 'Internal: boxoffice.confirm, for a tenant.';
