CREATE FUNCTION boxoffice.booking_json(tenant integer, booking uuid)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- (not SQL: a statement of it would be planned for each booking)
    RETURN (SELECT jsonb_strip_nulls(jsonb_build_object('booking', b.booking_id, 'status', b.status, 'event', b.event_id, 'show', b.show_id,
               'user', b.user_id, 'quantity', b.quantity, 'currency', b.currency, 'total', b.total, 'tax', b.tax, 'fee', b.fee,
               'refund_due', nullif(b.refund_due, 0), 'payment_ref', b.payment_ref, 'provider_ref', b.provider_ref, 'reason', b.reason,
               'created_at', rtrim(rtrim(to_char(b.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || '+00:00', 'expires_at', rtrim(rtrim(to_char(b.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || '+00:00'))
        || jsonb_build_object('items', boxoffice.items_json(b.tenant_id, b.booking_id))
    FROM boxoffice.bookings b WHERE b.tenant_id = tenant AND b.booking_id = booking);
END
$$;
COMMENT ON FUNCTION boxoffice.booking_json IS 'Internal: a booking as JSON, as boxoffice.reserve_many returns new ones.';
