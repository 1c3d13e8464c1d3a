CREATE FUNCTION usher.set_cursor(sink_id integer, lane integer, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    cursor_name CONSTANT text := usher.cursor_name(sink_id, lane);
BEGIN
    IF NOT EXISTS (SELECT FROM usher.sink_lanes l WHERE l.sink_id = set_cursor.sink_id AND l.lane = set_cursor.lane) THEN
        RAISE EXCEPTION 'sink % has no lane %', sink_id, lane USING ERRCODE = 'US022';
    END IF;
    -- The value of a sequence is no part of a transaction, its existence is. Another one it must be: the worker
    -- that has not heard of it yet would write its own position, and a cell never goes back.
    EXECUTE format('DROP SEQUENCE IF EXISTS %s', cursor_name);
    EXECUTE format('CREATE SEQUENCE %s MINVALUE 0 START 0 OWNED BY usher.sink_lanes.lane', cursor_name);
    PERFORM setval(cursor_name::regclass, set_cursor."position", true);
END
$$;
COMMENT ON FUNCTION usher.set_cursor IS
'Internal: make the cursor of a lane anew, at a position. Until the transaction ends its worker waits. Errors: US022 for a lane that does not exist, 55P03 when somebody else (a dump, say) looks at the old one for more than 5 seconds.';
