CREATE FUNCTION usher.kept_categories(partition regclass, from_position bigint, to_position bigint)
RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept   text[] := '{}';
    policy record;
    newest timestamptz;
    loses  boolean;
BEGIN
    FOR policy IN SELECT c.tenant_id, c.category, c.max_age FROM usher.category_retention c
                  ORDER BY c.tenant_id, c.category LOOP
        SELECT l.recorded_at INTO newest FROM usher.log l
        WHERE l.tenant_id = policy.tenant_id AND l.category = policy.category
          AND l.category_hash = usher.category_hash(policy.category)
          AND l.position >= from_position AND l.position < to_position
        ORDER BY l.position DESC LIMIT 1;
        IF FOUND THEN
            loses := newest < now() - policy.max_age;
        ELSE
            -- Nothing of it is here: it loses nothing, unless it has lost it before.
            SELECT NOT (format('%s:%s', policy.tenant_id, policy.category) = ANY (r.kept)) INTO loses
            FROM usher.log_removals r WHERE r.from_position = kept_categories.from_position;
        END IF;
        IF loses IS NOT TRUE THEN
            kept := kept || format('%s:%s', policy.tenant_id, policy.category);
        END IF;
    END LOOP;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION usher.kept_categories IS
'Internal: categories with a retention of their own that lose nothing when a partition is removed, as tenant_id:category: their events are kept, or they have none in it.';
