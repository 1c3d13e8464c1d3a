CREATE FUNCTION usher.grant_tenant(tenant text, role regrole)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO usher.tenant_grants (role, tenant_id)
    VALUES (grant_tenant.role, usher.tenant_named(grant_tenant.tenant))
    ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION usher.grant_tenant IS
'Let a role (and its members) use a tenant, or all with *. A role with one tenant is bound to it: it works for it without setting anything and cannot leave it. A role without grants may use the tenant default alone.';
