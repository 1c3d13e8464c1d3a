CREATE FUNCTION boxoffice.do_begin_payment(tenant integer, booking uuid, provider_ref text, user_id text)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b boxoffice.bookings;
BEGIN
    IF provider_ref IS NULL OR octet_length(provider_ref) NOT BETWEEN 1 AND 255 OR provider_ref ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'a payment has a reference of 1 to 255 bytes without control characters' USING ERRCODE = 'US018';
    END IF;
    b := boxoffice.locked_booking(tenant, booking, user_id);
    IF b.status = 'payment_pending' AND b.provider_ref = do_begin_payment.provider_ref THEN
        RETURN boxoffice.booking_row(tenant, booking);
    END IF;
    IF b.status <> 'reserved' THEN
        RAISE EXCEPTION 'booking % is %', booking, b.status USING ERRCODE = CASE b.status WHEN 'expired' THEN 'US036' ELSE 'US037' END;
    END IF;
    b.status := 'payment_pending';
    b.provider_ref := do_begin_payment.provider_ref;
    b.expires_at := greatest(b.expires_at, clock_timestamp() + current_setting('boxoffice.payment_timeout')::interval);
    PERFORM boxoffice.expires(b.expires_at);
    RETURN boxoffice.record(b, 'booking.payment_pending', jsonb_build_object('provider_ref', b.provider_ref, 'expires_at', b.expires_at));
END
$$;
COMMENT ON FUNCTION boxoffice.do_begin_payment IS 'Internal: boxoffice.begin_payment, for a tenant.';
