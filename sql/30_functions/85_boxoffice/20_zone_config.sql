CREATE FUNCTION boxoffice.zone_config(tenant integer, show bigint, zone bigint, price_type bigint)
RETURNS TABLE (event_id bigint, published boolean, show_cancelled boolean, numbered boolean, sale_from timestamptz, sale_until timestamptz,
    starts_at timestamptz, user_limit integer, abuse_limit integer, currency text, price_type_id bigint, unit_price bigint, tax_bp integer, fee_bp integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.event_id, e.status = 'published', s.cancelled, z.numbered, e.sale_from, e.sale_until,
           s.starts_local AT TIME ZONE s.time_zone, e.user_limit, e.max_expired_holds, e.currency,
           p.price_type_id, p.unit_price, p.tax_bp, p.fee_bp
    FROM boxoffice.zones z
    JOIN boxoffice.shows s ON s.tenant_id = z.tenant_id AND s.show_id = z.show_id
    JOIN boxoffice.events e ON e.tenant_id = s.tenant_id AND e.event_id = s.event_id
    LEFT JOIN LATERAL (
        SELECT p.* FROM boxoffice.price_types p
        WHERE p.tenant_id = z.tenant_id AND p.zone_id = z.zone_id AND p.active AND (price_type IS NULL OR p.price_type_id = price_type)
        ORDER BY p.ordinal, p.price_type_id LIMIT 1) p ON true
    WHERE z.tenant_id = tenant AND z.zone_id = zone AND z.show_id = show
$$;
COMMENT ON FUNCTION boxoffice.zone_config IS
'Internal: what a reservation must know of a zone. price_type null: the zone''s first. The library knows the columns by their order.';
