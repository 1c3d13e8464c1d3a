CREATE FUNCTION usher.gateway_claim(tenant_name text, user_id text, idempotency_key text, fingerprint bytea, OUT fresh boolean, OUT response jsonb)
RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    SELECT o.fresh, o.response INTO gateway_claim.fresh, gateway_claim.response
    FROM usher.once(usher.gateway_key(user_id, idempotency_key), fingerprint, '24 hours', false) o;
END
$$;
COMMENT ON FUNCTION usher.gateway_claim IS
'usher.once for a user of a tenant and 24 hours, without waiting: fresh, then do the work and end with usher.gateway_keep in the same transaction; else response is what the first request got. A user''s keys are the same for this and for usher.append_requests. Errors: US006, US010 unknown_tenant, US018, US025 idempotency_conflict, US027 request_in_progress. For usher_gateway.';
