CREATE FUNCTION usher.alter_sink(name text, config jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    altered CONSTANT integer := usher.sink_named(alter_sink.name);
    merged  jsonb;
    lanes   integer;
BEGIN
    IF config IS NULL OR jsonb_typeof(config) <> 'object' THEN
        RAISE EXCEPTION 'the config of a sink is not an object' USING ERRCODE = 'US018';
    END IF;
    SELECT coalesce(jsonb_object_agg(o.key, o.value) FILTER (WHERE o.value <> 'null'), '{}') INTO merged
    FROM usher.sinks s, jsonb_each(s.config || alter_sink.config) o
    WHERE s.sink_id = altered;
    UPDATE usher.sinks s SET config = coalesce(merged, '{}') WHERE s.sink_id = altered;

    lanes := coalesce((merged ->> 'parallel')::integer, 1);
    IF lanes <> (SELECT count(*) FROM usher.sink_lanes l WHERE l.sink_id = altered) THEN
        -- A key's events may come from another lane then: all begin where the slowest was.
        PERFORM usher.set_lanes(altered, lanes, (SELECT min(usher.cursor_position(l.sink_id, l.lane))
                                                 FROM usher.sink_lanes l WHERE l.sink_id = altered));
    END IF;
END
$$;
COMMENT ON FUNCTION usher.alter_sink IS
'Change options of a sink: those in config are set, those that are null there are removed (back to their default), the others stay; an inner object is replaced as a whole. It starts over with the new options when this transaction commits, and a blocked sink tries again. Another number of lanes (parallel): all of them begin where the slowest was, so that some events are sent again. Errors: US022 unknown_sink, US018 for an option that cannot be, 42501 as for usher.add_sink.';
