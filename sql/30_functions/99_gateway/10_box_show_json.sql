CREATE FUNCTION usher.box_show_json(s boxoffice.shows)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT jsonb_build_object('show', s.show_id, 'event', s.event_id, 'time_zone', s.time_zone, 'starts_local', s.starts_local,
        'starts_at', s.starts_local AT TIME ZONE s.time_zone, 'cancelled', s.cancelled)
$$;
COMMENT ON FUNCTION usher.box_show_json IS 'Internal: a show as the gateway replies it.';
