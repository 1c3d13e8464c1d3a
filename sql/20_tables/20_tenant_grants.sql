CREATE TABLE usher.tenant_grants (
    role      regrole NOT NULL,
    tenant_id integer REFERENCES usher.tenants ON DELETE CASCADE,
    UNIQUE NULLS NOT DISTINCT (role, tenant_id)
);
COMMENT ON TABLE usher.tenant_grants IS
'Tenants that a role (and its members) may use; a null tenant_id stands for all. A role without a row may use the default tenant alone.';
