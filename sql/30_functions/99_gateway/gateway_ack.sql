CREATE FUNCTION usher.gateway_ack(tenant_name text, user_id text, subscription text, lease bigint, up_to bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    PERFORM usher.ack(gateway_ack.subscription, gateway_ack.lease, gateway_ack.up_to);
END
$$;
COMMENT ON FUNCTION usher.gateway_ack IS
'usher.ack in a tenant. Errors: US003, US010 unknown_tenant, US026 lease_lost. For usher_gateway.';
