CREATE FUNCTION boxoffice.end_bookings(tenants integer[], ids uuid[], status text, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off -- some rows by an index, whatever the statistics say
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM boxoffice.zone_pin(z.tenant_id, z.zone_id)
    FROM (SELECT DISTINCT i.tenant_id, i.zone_id FROM unnest(tenants, ids) AS d (tenant_id, booking_id)
          JOIN boxoffice.booking_items i ON i.tenant_id = d.tenant_id AND i.booking_id = d.booking_id) z;
    PERFORM boxoffice.zone_give(z.tenant_id, z.zone_id, z.n)
    FROM (SELECT i.tenant_id, i.zone_id, sum(i.quantity) AS n FROM unnest(tenants, ids) AS d (tenant_id, booking_id)
          JOIN boxoffice.booking_items i ON i.tenant_id = d.tenant_id AND i.booking_id = d.booking_id
          WHERE NOT i.cancelled GROUP BY i.tenant_id, i.zone_id) z;
    UPDATE boxoffice.seats s SET booking_id = NULL
    FROM unnest(tenants, ids) AS d (tenant_id, booking_id)
    JOIN boxoffice.booking_items i ON i.tenant_id = d.tenant_id AND i.booking_id = d.booking_id AND i.seats IS NOT NULL AND NOT i.cancelled
    WHERE s.tenant_id = i.tenant_id AND s.zone_id = i.zone_id AND s.label = ANY (i.seats) AND s.booking_id = i.booking_id;
    UPDATE boxoffice.bookings b
    SET status = end_bookings.status, reason = coalesce(end_bookings.reason, b.reason), updated_at = clock_timestamp(),
        refund_due = b.refund_due + CASE WHEN b.status = 'confirmed' THEN b.total ELSE 0 END
    FROM unnest(tenants, ids) AS d (tenant_id, booking_id)
    WHERE b.tenant_id = d.tenant_id AND b.booking_id = d.booking_id;
    PERFORM boxoffice.emit(b.tenant_id, 'booking-' || b.booking_id, 'booking.' || b.status,
        jsonb_strip_nulls(jsonb_build_object('booking', b.booking_id, 'status', b.status, 'event', b.event_id, 'show', b.show_id, 'user', b.user_id,
            'quantity', b.quantity, 'total', b.total, 'refund_due', b.refund_due, 'reason', b.reason)))
    FROM (SELECT t.* FROM unnest(tenants, ids) AS d (tenant_id, booking_id)
          JOIN boxoffice.bookings t ON t.tenant_id = d.tenant_id AND t.booking_id = d.booking_id ORDER BY t.tenant_id, t.booking_id) b;
END
$$;
COMMENT ON FUNCTION boxoffice.end_bookings IS
'Internal: bookings that hold places, and are locked, become expired or cancelled; each an event.';
