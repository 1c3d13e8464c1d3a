CREATE FUNCTION boxoffice.take_again(b boxoffice.bookings, user_limit integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    z     record;
    taken text[];
BEGIN
    IF user_limit < b.quantity + (SELECT coalesce(sum(o.quantity), 0) FROM boxoffice.bookings o
                                  WHERE o.tenant_id = b.tenant_id AND o.user_id = b.user_id AND o.event_id = b.event_id
                                    AND o.status IN ('reserved', 'payment_pending', 'confirmed')) THEN
        RETURN false;
    END IF;
    BEGIN
        FOR z IN SELECT i.* FROM boxoffice.booking_items i
                 WHERE i.tenant_id = b.tenant_id AND i.booking_id = b.booking_id AND NOT i.cancelled ORDER BY i.zone_id, i.item LOOP
            IF NOT boxoffice.zone_take(b.tenant_id, z.zone_id, z.quantity) THEN
                RAISE EXCEPTION 'sold out' USING ERRCODE = 'US030';
            END IF;
            IF z.seats IS NOT NULL AND boxoffice.take_seats(b.tenant_id, z.zone_id, z.seats, b.booking_id) IS NOT NULL THEN
                RAISE EXCEPTION 'seats are taken' USING ERRCODE = 'US033';
            END IF;
        END LOOP;
        RETURN true;
    EXCEPTION WHEN SQLSTATE 'US030' OR SQLSTATE 'US033' THEN
        RETURN false; -- the savepoint has put everything back
    END;
END
$$;
COMMENT ON FUNCTION boxoffice.take_again IS
'Internal: take the same places and seats for a booking that has expired, if they are free and the user''s limit allows it. The user and the booking are locked.';
