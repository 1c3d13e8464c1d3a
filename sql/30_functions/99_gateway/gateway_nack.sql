CREATE FUNCTION usher.gateway_nack(tenant_name text, user_id text, subscription text, lease bigint, "position" bigint,
                                   error text DEFAULT NULL, retry_after interval DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    PERFORM usher.nack(gateway_nack.subscription, gateway_nack.lease, gateway_nack."position", gateway_nack.error, gateway_nack.retry_after);
END
$$;
COMMENT ON FUNCTION usher.gateway_nack IS
'usher.nack in a tenant. Errors: US003, US010 unknown_tenant, US018, US026 lease_lost. For usher_gateway.';
