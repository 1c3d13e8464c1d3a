CREATE FUNCTION usher.cursor_name(sink_id integer, lane integer)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('usher.sink_%s_%s', sink_id, lane);
END;
COMMENT ON FUNCTION usher.cursor_name IS 'Internal: name of the sequence that holds the cursor of a lane.';
