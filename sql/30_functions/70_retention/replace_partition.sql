CREATE FUNCTION usher.replace_partition(partition regclass, from_position bigint, to_position bigint, kept text[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name      text;
    survive   boolean;
    survivors text := format('log_p%s', lpad(from_position::text, 13, '0'));
BEGIN
    -- Heads of streams that end here stay known: the next version is noted where the stream was.
    EXECUTE format($sql$
        INSERT INTO usher.stream_segments AS s (tenant_id, stream, from_position, first_version)
        SELECT l.tenant_id, l.stream, $1, max(l.version) + 1
        FROM %s l
        WHERE l.stream IS NOT NULL AND NOT (format('%%s:%%s', l.tenant_id, l.category) = ANY ($2))
          AND NOT EXISTS (SELECT FROM usher.stream_segments later
                          WHERE later.tenant_id = l.tenant_id AND later.stream = l.stream
                            AND later.from_position > $1)
        GROUP BY l.tenant_id, l.stream
        ON CONFLICT (tenant_id, stream, from_position) DO UPDATE SET first_version = EXCLUDED.first_version
        $sql$, partition) USING from_position, kept;
    SELECT c.relname INTO name FROM pg_class c WHERE c.oid = partition;
    SELECT EXISTS (
        SELECT FROM usher.category_retention c
        JOIN usher.log l ON l.tenant_id = c.tenant_id AND l.category = c.category
                        AND l.category_hash = usher.category_hash(c.category)
        WHERE format('%s:%s', c.tenant_id, c.category) = ANY (kept)
          AND l.position >= replace_partition.from_position AND l.position < replace_partition.to_position
    ) INTO survive;
    IF NOT survive THEN
        EXECUTE format('ALTER TABLE usher.log DETACH PARTITION usher.%I', name);
        EXECUTE format('DROP TABLE usher.%I', name);
        -- A cursor in the gap behind an older partition must be told; one before the oldest partition is told anyway.
        INSERT INTO usher.log_removals (from_position, to_position, kept)
        VALUES (replace_partition.from_position, replace_partition.to_position - 1, replace_partition.kept)
        ON CONFLICT ON CONSTRAINT log_removals_pkey DO UPDATE SET kept = EXCLUDED.kept, removed_at = now();
        DELETE FROM usher.log_removals r
        WHERE r.to_position < (SELECT min(p.from_position) FROM usher.partition_list() p);
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE usher.survivors (LIKE usher.log INCLUDING ALL, CHECK (position >= %s AND position < %s))',
                   from_position, to_position);
    EXECUTE format('INSERT INTO usher.survivors SELECT l.* FROM usher.%I l WHERE format(''%%s:%%s'', l.tenant_id, l.category) = ANY ($1) ORDER BY l.position', name)
        USING kept;
    PERFORM usher.index_partition('usher.survivors');
    EXECUTE format('ALTER TABLE usher.survivors OWNER TO %I',
                   (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = 'usher.log'::regclass));
    ALTER TABLE usher.survivors ENABLE ROW LEVEL SECURITY;
    EXECUTE format('ALTER TABLE usher.log DETACH PARTITION usher.%I', name);
    EXECUTE format('DROP TABLE usher.%I', name);
    EXECUTE format('ALTER TABLE usher.survivors RENAME TO %I', survivors);
    EXECUTE format('ALTER TABLE usher.log ATTACH PARTITION usher.%I FOR VALUES FROM (%s) TO (%s)',
                   survivors, from_position, to_position);
    INSERT INTO usher.log_removals (from_position, to_position, kept)
    VALUES (replace_partition.from_position, replace_partition.to_position - 1, replace_partition.kept)
    ON CONFLICT ON CONSTRAINT log_removals_pkey DO UPDATE SET kept = EXCLUDED.kept, removed_at = now();
END
$$;
COMMENT ON FUNCTION usher.replace_partition IS
'Internal: drop a partition, or replace it by one that holds only the events of the kept categories (tenant_id:category).';
