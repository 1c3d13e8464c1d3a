CREATE FUNCTION boxoffice.record(b boxoffice.bookings, type text, data jsonb DEFAULT '{}')
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE boxoffice.bookings t
    SET status = b.status, quantity = b.quantity, total = b.total, tax = b.tax, fee = b.fee, refund_due = b.refund_due, updated_at = clock_timestamp(),
        expires_at = b.expires_at, payment_ref = b.payment_ref, provider_ref = b.provider_ref, reason = b.reason
    WHERE t.tenant_id = b.tenant_id AND t.booking_id = b.booking_id;
    PERFORM boxoffice.emit(b.tenant_id, 'booking-' || b.booking_id, type,
        jsonb_build_object('booking', b.booking_id, 'status', b.status, 'event', b.event_id, 'show', b.show_id, 'user', b.user_id,
            'quantity', b.quantity, 'total', b.total) || data);
    RETURN boxoffice.booking_row(b.tenant_id, b.booking_id);
END
$$;
COMMENT ON FUNCTION boxoffice.record IS
'Internal: write a locked booking as it is now, with the event that says so.';
