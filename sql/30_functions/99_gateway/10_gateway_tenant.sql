CREATE FUNCTION usher.gateway_tenant(tenant_name text)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_id integer;
BEGIN
    SELECT t.tenant_id INTO found_id FROM usher.tenants t WHERE t.slug = gateway_tenant.tenant_name;
    IF found_id IS NULL THEN
        RAISE EXCEPTION 'tenant "%" does not exist', tenant_name USING ERRCODE = 'US010';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION usher.gateway_tenant IS 'Internal: id of a tenant. Error: US010 unknown_tenant.';
