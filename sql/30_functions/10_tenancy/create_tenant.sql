CREATE FUNCTION usher.create_tenant(slug text, name text DEFAULT NULL, config jsonb DEFAULT '{}', branding jsonb DEFAULT '{}')
RETURNS integer
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO usher.tenants (slug, name, config, branding)
    VALUES (create_tenant.slug, coalesce(create_tenant.name, create_tenant.slug), create_tenant.config, create_tenant.branding)
    RETURNING tenant_id;
END;
COMMENT ON FUNCTION usher.create_tenant IS
'Create a tenant; slug: 1 to 63 of a-z 0-9 _ -. Returns its id. Sessions work for it after SET usher.tenant = slug.';
