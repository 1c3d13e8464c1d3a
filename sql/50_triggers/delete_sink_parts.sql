CREATE FUNCTION usher.delete_sink_parts()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.sink_secrets p WHERE p.sink_id = OLD.sink_id;
    DELETE FROM usher.sink_lanes p WHERE p.sink_id = OLD.sink_id;
    DELETE FROM usher.routes p WHERE p.sink_id = OLD.sink_id;
    DELETE FROM usher.replays p WHERE p.sink_id = OLD.sink_id;
    DELETE FROM usher.dead_letters p WHERE p.sink_id = OLD.sink_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.delete_sink_parts IS
'Internal: what belongs to a deleted sink goes with it.';

CREATE TRIGGER delete_sink_parts AFTER DELETE ON usher.sinks
    FOR EACH ROW EXECUTE FUNCTION usher.delete_sink_parts();
