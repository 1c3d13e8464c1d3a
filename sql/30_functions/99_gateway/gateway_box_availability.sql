CREATE FUNCTION usher.gateway_box_availability(tenant_name text, show bigint, drafts boolean DEFAULT false)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
AS $$
DECLARE
    s boxoffice.shows := usher.box_shown_show(usher.gateway_tenant(tenant_name), show, drafts);
BEGIN
    PERFORM set_config('usher.tenant', tenant_name, true);
    RETURN jsonb_build_object('show', s.show_id, 'event', s.event_id, 'zones',
        coalesce((SELECT jsonb_agg(jsonb_build_object('zone', a.zone_id, 'name', a.name, 'capacity', a.capacity, 'free', a.free, 'numbered', a.numbered)
                                   ORDER BY a.zone_id) FROM boxoffice.availability(show) a), '[]'));
END
$$;
COMMENT ON FUNCTION usher.gateway_box_availability IS
'boxoffice.availability of a show as JSON. drafts: also of an event that is not published yet. Errors: US010 unknown_tenant, US034 unknown_show. For usher_gateway.';
