CREATE FUNCTION usher.gateway_box_cancel(tenant_name text, user_id text, what text, id bigint, reason text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    CASE what
        WHEN 'event' THEN PERFORM boxoffice.cancel_event(id, reason);
        WHEN 'show' THEN PERFORM boxoffice.cancel_show(id, reason);
    END CASE;
    RETURN usher.gateway_box_one(tenant_name, what, true, id);
END
$$;
COMMENT ON FUNCTION usher.gateway_box_cancel IS
'boxoffice.cancel_event or cancel_show; the event or show as JSON. Errors: theirs, US010 unknown_tenant. For usher_gateway.';
