CREATE FUNCTION boxoffice.do_cancel(tenant integer, booking uuid, reason text, items integer[], user_id text)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b      boxoffice.bookings;
    part   record;
    given  integer[];
BEGIN
    IF length(reason) > 1000 THEN
        RAISE EXCEPTION 'a reason has at most 1000 characters' USING ERRCODE = 'US018';
    END IF;
    b := boxoffice.locked_booking(tenant, booking, user_id);
    IF b.status = 'cancelled' AND items IS NULL THEN
        RETURN boxoffice.booking_row(tenant, booking);
    END IF;
    IF b.status NOT IN ('reserved', 'payment_pending', 'confirmed') THEN
        RAISE EXCEPTION 'booking % is %', booking, b.status USING ERRCODE = CASE b.status WHEN 'expired' THEN 'US036' ELSE 'US037' END;
    END IF;
    SELECT array_agg(i.item ORDER BY i.item), count(*) = (SELECT count(*) FROM boxoffice.booking_items o
               WHERE o.tenant_id = tenant AND o.booking_id = booking AND NOT o.cancelled) AS whole,
           sum(i.quantity) AS quantity, sum(i.tax)::bigint AS tax, sum(i.fee)::bigint AS fee,
           sum(i.unit_price * i.quantity + i.tax + i.fee)::bigint AS total
    INTO part
    FROM boxoffice.booking_items i
    WHERE i.tenant_id = tenant AND i.booking_id = booking AND NOT i.cancelled AND (items IS NULL OR i.item = ANY (items));
    given := part.array_agg;
    IF items IS NOT NULL AND (given IS NULL OR NOT items <@ given) THEN
        RAISE EXCEPTION 'items % are not items of booking %, or are cancelled', items, booking USING ERRCODE = 'US018';
    END IF;
    PERFORM boxoffice.pin_zones(tenant, ARRAY[booking]);
    PERFORM boxoffice.give_up(tenant, booking, items);
    b.reason := reason;
    IF b.status = 'confirmed' THEN
        b.refund_due := b.refund_due + part.total;
    END IF;
    IF part.whole THEN
        b.status := 'cancelled';
        RETURN boxoffice.record(b, 'booking.cancelled', jsonb_build_object('reason', reason, 'refund_due', b.refund_due));
    END IF;
    UPDATE boxoffice.booking_items i SET cancelled = true WHERE i.tenant_id = tenant AND i.booking_id = booking AND i.item = ANY (given);
    b.quantity := b.quantity - part.quantity;
    b.total := b.total - part.total;
    b.tax := b.tax - part.tax;
    b.fee := b.fee - part.fee;
    RETURN boxoffice.record(b, 'booking.items_cancelled', jsonb_build_object('items', given, 'reason', reason, 'refund_due', b.refund_due));
END
$$;
COMMENT ON FUNCTION boxoffice.do_cancel IS 'Internal: boxoffice.cancel, for a tenant.';
