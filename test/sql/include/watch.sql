-- What a consumer sees of watched tables, and what it makes of it.
CREATE FUNCTION pg_temp.seen(after bigint) RETURNS TABLE (type text, key text, data jsonb)
LANGUAGE sql AS $$
    SELECT e.type, e.key, e.data FROM usher.events e
    WHERE e.topic LIKE 'watched%' AND e.position > after ORDER BY e.position
$$;
-- The rows that are there when the events of a topic have been applied in their order.
CREATE FUNCTION pg_temp.applied(watched text, after bigint DEFAULT 0) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    event usher.events;
    rows  jsonb := '{}';
BEGIN
    FOR event IN SELECT * FROM usher.events e WHERE e.topic = watched AND e.position > after ORDER BY e.position LOOP
        rows := CASE split_part(event.type, '.', 3)
            WHEN 'truncate' THEN '{}'::jsonb
            WHEN 'delete' THEN rows - event.key
            WHEN 'read' THEN rows
            ELSE rows || jsonb_build_object(event.key, event.data -> 'new') END;
    END LOOP;
    RETURN QUERY SELECT value FROM jsonb_each(rows);
END
$$;
-- Rows that differ between a table and what its events make of it.
CREATE FUNCTION pg_temp.differs(watched regclass, after bigint DEFAULT 0) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        '(SELECT ''table: '' || to_jsonb(t)::text FROM %1$s t EXCEPT SELECT ''table: '' || a::text FROM pg_temp.applied(%2$L, %3$s) a)
         UNION ALL (SELECT ''events: '' || a::text FROM pg_temp.applied(%2$L, %3$s) a EXCEPT SELECT ''events: '' || to_jsonb(t)::text FROM %1$s t)',
        watched, (SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE oid = watched), after);
END
$$;
