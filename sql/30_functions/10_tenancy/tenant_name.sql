CREATE FUNCTION usher.tenant_name(tenant_id integer)
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_tenant_name';
COMMENT ON FUNCTION usher.tenant_name IS
'Slug of a tenant; null when there is none.';
