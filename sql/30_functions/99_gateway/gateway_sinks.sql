CREATE FUNCTION usher.gateway_sinks(after text DEFAULT NULL, max integer DEFAULT 100)
RETURNS TABLE (name text, item jsonb)
LANGUAGE sql VOLATILE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name,
           jsonb_build_object('name', s.name, 'kind', s.kind, 'paused', s.paused, 'created_at', s.created_at, 'dead_letters', d.n,
                              'lanes', coalesce(l.lanes, '[]'))
    FROM (SELECT * FROM usher.sinks s WHERE after IS NULL OR s.name > after COLLATE "C" ORDER BY s.name LIMIT usher.gateway_page(max)) s
    LEFT JOIN (SELECT i.sink, jsonb_agg(to_jsonb(i) - 'sink' - 'kind' - 'pid' ORDER BY i.replay_id NULLS FIRST, i.lane) AS lanes
               FROM usher.sink_status_list() i GROUP BY i.sink) l ON l.sink = s.name
    CROSS JOIN LATERAL (SELECT count(*) AS n FROM usher.dead_letters d WHERE d.sink_id = s.sink_id) d
    ORDER BY s.name
$$;
COMMENT ON FUNCTION usher.gateway_sinks IS
'A page of the sinks (they belong to no tenant), by name behind after, at most max (1 to 10,000). In item, for each lane and each replay that runs: what usher.sink_status shows. Never a sink''s config, and no secret. Errors: US018. For usher_gateway.';
