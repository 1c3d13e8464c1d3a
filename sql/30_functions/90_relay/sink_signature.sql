CREATE FUNCTION usher.sink_signature(sink_id integer)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT md5(concat_ws('|', s,
        (SELECT string_agg(l::text, ',' ORDER BY l.lane) FROM usher.sink_lanes l WHERE l.sink_id = s.sink_id),
        (SELECT string_agg(r::text, ',' ORDER BY r.route_id) FROM usher.routes r WHERE r.sink_id = s.sink_id),
        (SELECT string_agg(x::text, ',' ORDER BY x.name) FROM usher.sink_secrets x WHERE x.sink_id = s.sink_id)))
    FROM usher.sinks s
    WHERE s.sink_id = sink_signature.sink_id
$$;
COMMENT ON FUNCTION usher.sink_signature IS
'Internal, for the relay workers: a fingerprint of everything that is configured for a sink; a worker starts over when it has changed.';
