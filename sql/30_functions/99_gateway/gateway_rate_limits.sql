CREATE FUNCTION usher.gateway_rate_limits()
RETURNS TABLE (tenant text, class text, per_minute integer, burst integer)
LANGUAGE sql STABLE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.slug, r.class, r.per_minute, r.burst FROM usher.rate_limits r JOIN usher.tenants t USING (tenant_id) ORDER BY 1, 2
$$;
COMMENT ON FUNCTION usher.gateway_rate_limits IS 'The rate limits that usher.set_rate_limit gave to tenants. For usher_gateway.';
