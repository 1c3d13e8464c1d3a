CREATE FUNCTION usher.invalidate_caches()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_invalidate_caches';
COMMENT ON FUNCTION usher.invalidate_caches IS 'Internal: every backend reads the changed table again.';

CREATE TRIGGER invalidate_caches AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION usher.invalidate_caches();
CREATE TRIGGER invalidate_caches AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.tenant_grants
    FOR EACH STATEMENT EXECUTE FUNCTION usher.invalidate_caches();
CREATE TRIGGER invalidate_caches AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.projections
    FOR EACH STATEMENT EXECUTE FUNCTION usher.invalidate_caches();

-- Also where replication applies the rows.
ALTER TABLE usher.tenants ENABLE ALWAYS TRIGGER invalidate_caches;
ALTER TABLE usher.tenant_grants ENABLE ALWAYS TRIGGER invalidate_caches;
ALTER TABLE usher.projections ENABLE ALWAYS TRIGGER invalidate_caches;
