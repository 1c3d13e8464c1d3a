-- No foreign key: a parallel pg_restore fills this table without waiting for usher.tenants. A trigger cascades instead.
CREATE TABLE usher.tenant_grants (
    role      regrole NOT NULL,
    tenant_id integer,
    UNIQUE NULLS NOT DISTINCT (role, tenant_id)
);
COMMENT ON TABLE usher.tenant_grants IS
'Tenants that a role (and its members) may use; a null tenant_id stands for all. A role without a row may use the default tenant alone.';
