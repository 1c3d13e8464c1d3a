CREATE FUNCTION boxoffice.do_finish_refund(tenant integer, booking uuid, succeeded boolean)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b      boxoffice.bookings := boxoffice.locked_booking(tenant, booking, NULL);
    amount bigint := b.refund_due;
BEGIN
    IF succeeded IS NULL THEN
        RAISE EXCEPTION 'a refund has succeeded or not' USING ERRCODE = 'US018';
    END IF;
    IF b.status <> 'refund_pending' THEN
        RAISE EXCEPTION 'booking % is %', booking, b.status USING ERRCODE = 'US037';
    END IF;
    b.status := CASE WHEN succeeded THEN 'refunded' ELSE 'refund_failed' END;
    b.refund_due := CASE WHEN succeeded THEN 0 ELSE amount END;
    RETURN boxoffice.record(b, 'booking.' || b.status, jsonb_build_object('amount', amount));
END
$$;
COMMENT ON FUNCTION boxoffice.do_finish_refund IS 'Internal: boxoffice.finish_refund, for a tenant.';
