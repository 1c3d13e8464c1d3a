CREATE FUNCTION usher.gateway_box_bookings(tenant_name text, owner text, status text DEFAULT NULL, after uuid DEFAULT NULL, max integer DEFAULT 100, event bigint DEFAULT NULL, show bigint DEFAULT NULL)
RETURNS TABLE (id uuid, item jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant integer := usher.gateway_tenant(tenant_name);
BEGIN
    IF gateway_box_bookings.status = 'refund-due' THEN
        -- (by itself, so that every plan knows the predicate of the index)
        RETURN QUERY SELECT p.booking_id, usher.box_booking_json(tenant, p.booking_id)
            FROM (SELECT b.booking_id FROM boxoffice.bookings b
                  WHERE b.tenant_id = tenant AND b.refund_due > 0 AND (owner IS NULL OR b.user_id = owner)
                    AND b.booking_id > coalesce(gateway_box_bookings.after, '00000000-0000-0000-0000-000000000000')
                    AND (gateway_box_bookings.event IS NULL OR b.event_id = gateway_box_bookings.event)
                    AND (gateway_box_bookings.show IS NULL OR b.show_id = gateway_box_bookings.show)
                  ORDER BY b.booking_id LIMIT gateway_box_bookings.max) p
            ORDER BY p.booking_id;
        RETURN;
    END IF;
    RETURN QUERY SELECT p.booking_id, usher.box_booking_json(tenant, p.booking_id)
        FROM (SELECT b.booking_id FROM boxoffice.bookings b
              WHERE b.tenant_id = tenant AND (owner IS NULL OR b.user_id = owner) AND (gateway_box_bookings.after IS NULL OR b.booking_id > gateway_box_bookings.after)
                AND (gateway_box_bookings.event IS NULL OR b.event_id = gateway_box_bookings.event)
                AND (gateway_box_bookings.show IS NULL OR b.show_id = gateway_box_bookings.show)
                AND CASE gateway_box_bookings.status WHEN 'pending' THEN b.status IN ('reserved', 'payment_pending')
                    ELSE gateway_box_bookings.status IS NULL OR b.status = gateway_box_bookings.status END
              ORDER BY b.booking_id LIMIT gateway_box_bookings.max) p
        ORDER BY p.booking_id;
END
$$;
COMMENT ON FUNCTION usher.gateway_box_bookings IS
'Bookings as JSON, oldest first: of a user (null: of all), of an event, of a show, in a state (pending: reserved or payment_pending; refund-due: with money to give back). after: the last id of the page before. Error: US010 unknown_tenant. For usher_gateway.';
