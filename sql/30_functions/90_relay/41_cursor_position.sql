CREATE FUNCTION usher.cursor_position(sink_id integer, lane integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_position bigint;
BEGIN
    -- Not pg_sequence_last_value: its lock stays until the end of the transaction.
    EXECUTE format('SELECT c.last_value FROM %s c WHERE c.is_called', usher.cursor_name(sink_id, lane)) INTO found_position;
    RETURN coalesce(found_position, 0);
EXCEPTION WHEN undefined_table THEN
    RETURN 0;
END
$$;
COMMENT ON FUNCTION usher.cursor_position IS
'Internal: the position up to which a lane of a sink has delivered; 0 when it has no cursor.';
