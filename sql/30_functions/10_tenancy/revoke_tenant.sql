CREATE FUNCTION usher.revoke_tenant(tenant text, role regrole)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM usher.tenant_grants g
    WHERE g.role = revoke_tenant.role
      AND g.tenant_id IS NOT DISTINCT FROM usher.tenant_named(revoke_tenant.tenant);
END;
COMMENT ON FUNCTION usher.revoke_tenant IS 'Take back what usher.grant_tenant gave.';
