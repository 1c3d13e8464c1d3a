CREATE FUNCTION usher.replay_status_list()
RETURNS TABLE (replay_id bigint, sink text, kind text, from_position bigint, to_position bigint, pattern text, state text,
               "position" bigint, replayed bigint, failed bigint, skipped bigint, error text, created_at timestamptz, ended_at timestamptz)
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.replay_id, s.name, r.kind, r.from_position, r.to_position, r.pattern, r.state,
           r.position, r.replayed, r.failed, r.skipped, r.error, r.created_at, r.ended_at
    FROM usher.replays r JOIN usher.sinks s USING (sink_id)
    ORDER BY r.replay_id
$$;
COMMENT ON FUNCTION usher.replay_status_list IS 'Internal, for the view usher.replay_status.';
