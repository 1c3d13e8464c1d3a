CREATE FUNCTION usher.gateway_box_seats(tenant_name text, drafts boolean, zone bigint, free boolean DEFAULT NULL, accessible boolean DEFAULT NULL, after text DEFAULT NULL, max integer DEFAULT 100)
RETURNS TABLE (id text, item jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant integer := usher.gateway_tenant(tenant_name);
BEGIN
    PERFORM usher.gateway_box_one(tenant_name, 'zone', drafts, zone);
    RETURN QUERY SELECT s.label, jsonb_build_object('seat', s.label, 'rank', s.row_rank, 'number', s.number, 'accessible', s.accessible,
                                                    'free', s.booking_id IS NULL)
        FROM boxoffice.seats s
        WHERE s.tenant_id = tenant AND s.zone_id = gateway_box_seats.zone AND (gateway_box_seats.after IS NULL OR s.label > gateway_box_seats.after)
          AND (gateway_box_seats.free IS NULL OR (s.booking_id IS NULL) = gateway_box_seats.free)
          AND (gateway_box_seats.accessible IS NULL OR s.accessible = gateway_box_seats.accessible)
        ORDER BY s.label LIMIT gateway_box_seats.max;
END
$$;
COMMENT ON FUNCTION usher.gateway_box_seats IS
'Numbered seats of a zone as JSON, by label. free, accessible: only those that are, or are not; null: all. drafts: also of an event that is not published yet. after: the last id of the page before. Errors: US010 unknown_tenant, US034 unknown_show. For usher_gateway.';
