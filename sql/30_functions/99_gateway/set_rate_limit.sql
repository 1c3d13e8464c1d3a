CREATE FUNCTION usher.set_rate_limit(tenant_name text, class text, per_minute integer, burst integer DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
AS $$
DECLARE
    target CONSTANT integer := usher.gateway_tenant(tenant_name);
    most   CONSTANT integer := coalesce(set_rate_limit.burst, set_rate_limit.per_minute);
BEGIN
    -- until the function ends: row-level security lets one tenant through
    PERFORM set_config('usher.tenant', tenant_name, true);
    PERFORM usher.check_name(set_rate_limit.class, 'rate class');
    IF set_rate_limit.per_minute < 0 OR (set_rate_limit.per_minute > 0 AND most < 1) THEN
        RAISE EXCEPTION 'a rate limit and its burst are positive numbers' USING ERRCODE = 'US018', HINT = 'Null takes a tenant''s own limit back.';
    ELSIF coalesce(set_rate_limit.per_minute, 0) = 0 THEN
        DELETE FROM usher.rate_limits r WHERE r.tenant_id = target AND r.class = set_rate_limit.class;
    ELSE
        INSERT INTO usher.rate_limits AS r (tenant_id, class, per_minute, burst)
        VALUES (target, set_rate_limit.class, set_rate_limit.per_minute, most)
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE
        SET per_minute = EXCLUDED.per_minute, burst = EXCLUDED.burst, changed_at = now();
    END IF;
END
$$;
COMMENT ON FUNCTION usher.set_rate_limit IS
'Give a tenant a rate limit of its own for a class of requests to the HTTP gateway: per_minute requests a minute for the whole tenant, of which burst (null: as many as in a minute) may come at once. per_minute null or 0 takes it back. For usher_admin, for the tenants that it may configure. Errors: US006, US010 unknown_tenant, US011 tenant_denied, US018.';
