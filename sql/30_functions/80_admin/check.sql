CREATE FUNCTION usher.check()
RETURNS TABLE (invariant text, ok boolean, detail text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counter record;
    stable  bigint;
    n       bigint;
    example text;
BEGIN
    stable := usher.stable_position();
    counter := usher.counter();

    SELECT count(*), min(l.position)::text INTO n, example FROM usher.log l WHERE l.position > counter.mark;
    RETURN QUERY SELECT 'position is below the durable mark', n = 0,
        format('mark %s; %s events above it%s', counter.mark, n, coalesce(', first ' || example, ''));

    IF counter.next IS NOT NULL THEN
        RETURN QUERY SELECT 'stable position is below the next position', stable < counter.next AND counter.next <= counter.mark + 1,
            format('stable %s, next %s, mark %s, %s transactions committing', stable, counter.next, counter.mark, counter.committing);
    END IF;

    SELECT count(*), min(d.position)::text INTO n, example
    FROM (SELECT l.position FROM usher.log l GROUP BY l.position HAVING count(*) > 1) d;
    RETURN QUERY SELECT 'position is unique', n = 0, format('%s positions given twice%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(d.position)::text INTO n, example
    FROM (SELECT l.position, l.recorded_at < lag(l.recorded_at) OVER (ORDER BY l.position) AS backwards FROM usher.log l) d
    WHERE d.backwards;
    RETURN QUERY SELECT 'recorded_at never runs backwards', n = 0, format('%s events out of time%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(format('%s at %s', d.stream, d.position)) INTO n, example
    FROM (SELECT l.stream, l.position, l.version, lag(l.version) OVER w AS previous
          FROM usher.log l WHERE l.stream IS NOT NULL
          WINDOW w AS (PARTITION BY l.tenant_id, l.stream ORDER BY l.position)) d
    WHERE d.version <> d.previous + 1;
    RETURN QUERY SELECT 'versions follow each other in the order of positions', n = 0,
        format('%s steps are not +1%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(d.stream) INTO n, example
    FROM (SELECT l.tenant_id, l.stream, min(l.version) AS first, min(l.position) AS position
          FROM usher.log l WHERE l.stream IS NOT NULL GROUP BY l.tenant_id, l.stream) d
    LEFT JOIN usher.stream_registry r USING (tenant_id, stream)
    WHERE r.stream IS NULL
       OR (d.first <> 1 AND NOT EXISTS (SELECT FROM usher.partition_list() p WHERE p.from_position > r.first_position)
           AND NOT EXISTS (SELECT FROM usher.log_removals));
    RETURN QUERY SELECT 'every stream is registered and begins with version 1', n = 0,
        format('%s streams are not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(d.stream) INTO n, example
    FROM (SELECT DISTINCT l.tenant_id, l.stream, p.from_position
          FROM usher.partition_list() p
          JOIN usher.log l ON l.position >= p.from_position AND l.position < p.to_position
          WHERE l.stream IS NOT NULL) d
    WHERE NOT EXISTS (SELECT FROM usher.stream_registry r
                      WHERE r.tenant_id = d.tenant_id AND r.stream = d.stream AND r.first_position = d.from_position)
      AND NOT EXISTS (SELECT FROM usher.stream_segments s
                      WHERE s.tenant_id = d.tenant_id AND s.stream = d.stream AND s.from_position = d.from_position);
    RETURN QUERY SELECT 'segments name every partition of a stream', n = 0,
        format('%s are missing%s', n, coalesce(', first of ' || example, ''));

    SELECT count(*), min(d.from_position)::text INTO n, example
    FROM (SELECT p.from_position, lag(p.to_position) OVER (ORDER BY p.from_position) AS previous FROM usher.partition_list() p) d
    WHERE d.from_position - d.previous <> (SELECT coalesce(sum(r.to_position - r.from_position + 1), 0) FROM usher.log_removals r
                                           WHERE r.from_position >= d.previous AND r.from_position < d.from_position);
    RETURN QUERY SELECT 'partitions follow each other', n = 0, format('%s gaps that no removal left%s', n, coalesce(', first at ' || example, ''));

    SELECT count(*), min(d.key) INTO n, example
    FROM (SELECT k.key FROM usher.idempotency_keys k WHERE k.done AND k.expires_at > clock_timestamp()
          GROUP BY k.tenant_id, k.key HAVING count(*) > 1) d;
    RETURN QUERY SELECT 'an idempotency key has one response', n = 0, format('%s have more%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(c.relname) INTO n, example FROM pg_class c
    WHERE c.relnamespace = 'usher'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity;
    RETURN QUERY SELECT 'every table has row-level security', n = 0, format('%s do not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(t.relname) INTO n, example
    FROM usher.partition_list() p JOIN pg_stat_all_tables t ON t.relid = p.partition WHERE t.n_tup_upd + t.n_tup_del > 0;
    RETURN QUERY SELECT 'no row of the log was updated or deleted', n = 0, format('in %s partitions it was%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(p.what) INTO n, example
    FROM (SELECT l.sink_id, format('lane %s of sink %s', l.lane, l.sink_id) AS what FROM usher.sink_lanes l
          UNION ALL SELECT r.sink_id, format('route %s', r.route_id) FROM usher.routes r
          UNION ALL SELECT r.sink_id, format('replay %s', r.replay_id) FROM usher.replays r WHERE r.sink_id IS NOT NULL
          UNION ALL SELECT d.sink_id, format('dead letter %s', d.dead_letter_id) FROM usher.dead_letters d WHERE d.sink_id IS NOT NULL) p
    WHERE NOT EXISTS (SELECT FROM usher.sinks s WHERE s.sink_id = p.sink_id);
    RETURN QUERY SELECT 'every part of a sink belongs to one that exists', n = 0, format('%s do not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(s.name) INTO n, example
    FROM usher.sinks s
    WHERE NOT EXISTS (SELECT FROM usher.sink_lanes l WHERE l.sink_id = s.sink_id AND l.lane = 0)
       OR EXISTS (SELECT FROM usher.sink_lanes l WHERE l.sink_id = s.sink_id
                  AND (usher.cursor_position(l.sink_id, l.lane) > usher.stable_position() OR to_regclass(usher.cursor_name(l.sink_id, l.lane)) IS NULL));
    RETURN QUERY SELECT 'every lane has a cursor that is not ahead', n = 0, format('%s sinks are not so%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(format('partition %s of %s', p.partition, s.name)) INTO n, example
    FROM usher.subscriptions s
    CROSS JOIN LATERAL generate_series(0, s.partitions - 1) AS p (partition)
    LEFT JOIN usher.subscription_cursors c ON c.subscription_id = s.subscription_id AND c.partition = p.partition
    WHERE c.position IS NULL OR c.position NOT BETWEEN 0 AND stable;
    RETURN QUERY SELECT 'every partition of a subscription has a cursor that is not ahead', n = 0,
        format('%s are not so%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(p.what) INTO n, example
    FROM (SELECT k.subscription_id, format('parked key %s', k.key) AS what FROM usher.parked_keys k
          UNION ALL SELECT r.subscription_id, format('replay %s', r.replay_id) FROM usher.replays r WHERE r.subscription_id IS NOT NULL
          UNION ALL SELECT d.subscription_id, format('dead letter %s', d.dead_letter_id) FROM usher.dead_letters d
                    WHERE d.subscription_id IS NOT NULL) p
    WHERE NOT EXISTS (SELECT FROM usher.subscriptions s WHERE s.subscription_id = p.subscription_id);
    RETURN QUERY SELECT 'every part of a subscription belongs to one that exists', n = 0, format('%s do not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(k.key) INTO n, example
    FROM usher.parked_keys k JOIN usher.subscriptions s USING (subscription_id)
    WHERE k.tenant_id <> s.tenant_id OR k.partition NOT BETWEEN 0 AND s.partitions - 1 OR k.failed < k.position
       OR k.failed IS NULL AND (k.held OR k.attempts <> 0)
       OR k.held AND NOT EXISTS (SELECT FROM usher.dead_letters d WHERE d.subscription_id = k.subscription_id AND d.position = k.failed);
    RETURN QUERY SELECT 'parked keys are whole', n = 0, format('%s are not%s', n, coalesce(', first ' || example, ''));

    -- Not everybody may see this setting.
    IF pg_has_role('pg_read_all_settings', 'USAGE') THEN
        RETURN QUERY SELECT 'pg_usher stands first in shared_preload_libraries',
            split_part(current_setting('shared_preload_libraries'), ',', 1) ~ '^\s*"?(.*/)?pg_usher"?\s*$',
            current_setting('shared_preload_libraries');
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check IS
'Check the invariants of the log: one row each, with what was found. Reads the whole log; for administrators (it looks at every tenant only when it runs as the owner of the log).';
