CREATE FUNCTION usher.check_cursor("position" bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    oldest CONSTANT bigint := usher.oldest_position();
    stable CONSTANT bigint := usher.stable_position();
BEGIN
    IF "position" IS NULL OR "position" < 0 THEN
        RAISE EXCEPTION 'a position cannot be null or negative' USING ERRCODE = 'US018';
    ELSIF "position" > stable THEN
        RAISE EXCEPTION 'position % is ahead of the log, which is at %', "position", stable USING ERRCODE = 'US018';
    ELSIF "position" < oldest - 1 THEN
        RAISE EXCEPTION 'events behind position % are gone', "position"
            USING ERRCODE = 'US004', DETAIL = format('The oldest position is %s.', oldest),
                  HINT = format('Go on from %s, or from 0, which stands for what is oldest.', oldest - 1);
    END IF;
    RETURN "position";
END
$$;
COMMENT ON FUNCTION usher.check_cursor IS
'Internal: the position, if nothing behind it is gone. Errors: US004 position_gone, US018 for a position that is null, negative or ahead of the log.';
