CREATE FUNCTION usher.sink_start("position" bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF "position" = 0 THEN
        RETURN greatest(usher.oldest_position() - 1, 0);
    END IF;
    RETURN usher.check_cursor("position");
END
$$;
COMMENT ON FUNCTION usher.sink_start IS
'Internal: where a sink begins that is to go on behind a position; 0 stands for everything that is retained. Errors: as of usher.check_cursor.';
