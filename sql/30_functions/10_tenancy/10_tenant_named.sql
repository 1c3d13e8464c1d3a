CREATE FUNCTION usher.tenant_named(tenant text)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_id integer;
BEGIN
    IF tenant = '*' THEN
        RETURN NULL;
    END IF;
    SELECT t.tenant_id INTO found_id FROM usher.tenants t WHERE t.slug = tenant_named.tenant;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant "%" does not exist', tenant USING ERRCODE = 'US010';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION usher.tenant_named IS 'Internal: id of a tenant, null for *. Error: US010 unknown_tenant.';
