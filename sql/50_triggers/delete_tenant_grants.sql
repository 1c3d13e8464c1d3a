CREATE FUNCTION usher.delete_tenant_grants()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.tenant_grants g WHERE g.tenant_id = OLD.tenant_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.delete_tenant_grants IS
'Internal: the grants of a deleted tenant go with it.';

CREATE TRIGGER delete_tenant_grants AFTER DELETE ON usher.tenants
    FOR EACH ROW EXECUTE FUNCTION usher.delete_tenant_grants();
