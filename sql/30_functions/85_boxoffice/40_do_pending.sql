CREATE FUNCTION boxoffice.do_pending(tenant integer, user_id text)
RETURNS SETOF boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT r.* FROM boxoffice.bookings b CROSS JOIN LATERAL boxoffice.booking_row(tenant, b.booking_id) r
        WHERE b.tenant_id = tenant AND b.user_id = do_pending.user_id AND b.status IN ('reserved', 'payment_pending') ORDER BY b.booking_id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_pending IS 'Internal: boxoffice.pending, for a tenant.';
