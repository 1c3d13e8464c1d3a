CREATE FUNCTION usher.gateway_extend(tenant_name text, user_id text, subscription text, lease bigint, "interval" interval DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    PERFORM usher.extend(gateway_extend.subscription, gateway_extend.lease, gateway_extend."interval");
END
$$;
COMMENT ON FUNCTION usher.gateway_extend IS
'usher.extend in a tenant. Errors: US003, US010 unknown_tenant, US018, US026 lease_lost. For usher_gateway.';
