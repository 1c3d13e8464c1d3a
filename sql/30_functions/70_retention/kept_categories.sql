CREATE FUNCTION usher.kept_categories(partition regclass, from_position bigint, to_position bigint)
RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept   text[] := '{}';
    policy record;
    newest timestamptz;
BEGIN
    FOR policy IN SELECT c.tenant_id, c.category, c.max_age FROM usher.category_retention c
                  ORDER BY c.tenant_id, c.category LOOP
        SELECT l.recorded_at INTO newest FROM usher.log l
        WHERE l.tenant_id = policy.tenant_id AND l.category = policy.category
          AND l.position >= from_position AND l.position < to_position
        ORDER BY l.position DESC LIMIT 1;
        IF FOUND AND (policy.max_age IS NULL OR newest >= now() - policy.max_age) THEN
            kept := kept || format('%s:%s', policy.tenant_id, policy.category);
        END IF;
    END LOOP;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION usher.kept_categories IS
'Internal: categories whose own retention keeps their events of a partition, as tenant_id:category.';
