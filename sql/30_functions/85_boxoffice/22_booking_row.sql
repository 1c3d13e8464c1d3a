CREATE FUNCTION boxoffice.booking_row(tenant integer, booking uuid)
RETURNS boxoffice.booking
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.booking_id, b.code, b.status, b.event_id, b.show_id, b.user_id, b.quantity, b.currency, b.total, b.tax, b.fee, b.refund_due,
           boxoffice.items_json(b.tenant_id, b.booking_id), b.payment_ref, b.provider_ref, b.reason, b.created_at, b.updated_at, b.expires_at
    FROM boxoffice.bookings b WHERE b.tenant_id = tenant AND b.booking_id = booking
$$;
COMMENT ON FUNCTION boxoffice.booking_row IS 'Internal: a booking as its rows have it.';
