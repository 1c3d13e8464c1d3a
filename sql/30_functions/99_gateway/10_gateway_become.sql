CREATE FUNCTION usher.gateway_become(tenant_name text, user_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM usher.gateway_tenant(tenant_name);
    PERFORM set_config('usher.tenant', tenant_name, true),
            set_config('usher.actor', CASE WHEN user_id <> '' THEN jsonb_build_object('id', user_id)::text ELSE '' END, true);
END
$$;
COMMENT ON FUNCTION usher.gateway_become IS
'Internal: set the tenant and the actor until the end of the calling function, which must have a SET clause for usher.tenant and usher.actor. Error: US010 unknown_tenant.';
