CREATE FUNCTION usher.restore_default_tenant()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE usher.tenants t
    SET name = NEW.name, config = NEW.config, branding = NEW.branding, created_at = NEW.created_at
    WHERE t.tenant_id = 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.restore_default_tenant IS
'Internal: the default tenant exists from the start; a restored row of it becomes its contents.';

CREATE TRIGGER restore_default_tenant BEFORE INSERT ON usher.tenants
    FOR EACH ROW WHEN (NEW.slug = 'default' AND NEW.tenant_id = 1) EXECUTE FUNCTION usher.restore_default_tenant();
