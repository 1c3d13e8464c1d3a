CREATE FUNCTION usher.gateway_keep(tenant_name text, user_id text, idempotency_key text, response jsonb)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    PERFORM usher.once_done(usher.gateway_key(user_id, idempotency_key), gateway_keep.response);
    RETURN gateway_keep.response;
END
$$;
COMMENT ON FUNCTION usher.gateway_keep IS
'usher.once_done behind usher.gateway_claim; returns the response. Errors: US006, US008 event_too_large, US010 unknown_tenant, US018. For usher_gateway.';
