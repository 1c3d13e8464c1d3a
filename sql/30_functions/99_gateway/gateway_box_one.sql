CREATE FUNCTION usher.gateway_box_one(tenant_name text, what text, drafts boolean, id bigint)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant integer := usher.gateway_tenant(tenant_name);
    z      boxoffice.zones;
BEGIN
    CASE what
        WHEN 'event' THEN RETURN usher.box_event_json(usher.box_shown_event(tenant, id, drafts));
        WHEN 'show' THEN RETURN usher.box_show_json(usher.box_shown_show(tenant, id, drafts));
        WHEN 'zone' THEN
            SELECT t.* INTO z FROM boxoffice.zones t WHERE t.tenant_id = tenant AND t.zone_id = id;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'there is no zone %', id USING ERRCODE = 'US034';
            END IF;
            PERFORM usher.box_shown_show(tenant, z.show_id, drafts);
            RETURN usher.box_zone_json(z, drafts);
    END CASE;
END
$$;
COMMENT ON FUNCTION usher.gateway_box_one IS
'An event, a show, or a zone with its prices, as JSON. drafts: also what is not published yet. Errors: US010 unknown_tenant, US034 unknown_show. For usher_gateway.';
