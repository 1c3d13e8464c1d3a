CREATE FUNCTION boxoffice.zone_free(tenant integer, zone bigint)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT z.capacity - coalesce((
        SELECT sum(i.quantity)
        FROM boxoffice.bookings b JOIN boxoffice.booking_items i ON i.tenant_id = b.tenant_id AND i.booking_id = b.booking_id
        WHERE b.tenant_id = z.tenant_id AND b.show_id = z.show_id AND b.status IN ('reserved', 'payment_pending', 'confirmed')
          AND i.zone_id = z.zone_id AND NOT i.cancelled), 0)::bigint
    FROM boxoffice.zones z
    WHERE z.tenant_id = tenant AND z.zone_id = zone
$$;
COMMENT ON FUNCTION boxoffice.zone_free IS 'Internal: free places of a zone by its rows; null: there is no such zone.';
