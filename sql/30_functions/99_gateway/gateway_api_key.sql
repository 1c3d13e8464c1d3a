CREATE FUNCTION usher.gateway_api_key(hash bytea)
RETURNS TABLE (tenant text, name text, scopes text, rate_class text, issued_at bigint, expires_at bigint)
LANGUAGE sql STABLE ROWS 1
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.slug, k.name, array_to_string(k.scopes, ' '), k.rate_class,
           ceil(extract(epoch FROM k.created_at))::bigint, floor(extract(epoch FROM k.expires_at))::bigint
    FROM usher.api_keys k JOIN usher.tenants t USING (tenant_id)
    WHERE k.hash = gateway_api_key.hash AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
COMMENT ON FUNCTION usher.gateway_api_key IS
'Whose API key has this SHA-256 hash: its tenant, name, scopes (with blanks between), rate class, and when it was issued and expires, in seconds since 1970 (null: never). No row when there is none, or it has expired. For usher_gateway.';
