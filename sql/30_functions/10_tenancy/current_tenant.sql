CREATE FUNCTION usher.current_tenant()
RETURNS integer
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_current_tenant';
COMMENT ON FUNCTION usher.current_tenant IS
'Id of the session''s tenant (setting usher.tenant, or the only tenant of the role), used by every row-level policy. Errors: US010 unknown_tenant, US011 tenant_denied.';
