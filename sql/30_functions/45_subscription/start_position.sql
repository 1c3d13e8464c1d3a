CREATE FUNCTION usher.start_position("position" bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stable bigint := usher.stable_position();
    oldest bigint := usher.oldest_position();
BEGIN
    IF start_position."position" IS NULL THEN
        RETURN stable;
    ELSIF start_position."position" < 0 THEN
        RAISE EXCEPTION 'a position cannot be negative' USING ERRCODE = 'US018';
    ELSIF start_position."position" = 0 THEN
        RETURN oldest - 1;
    ELSIF start_position."position" < oldest - 1 THEN
        RAISE EXCEPTION 'events after position % have been removed', start_position."position"
            USING ERRCODE = 'US004', DETAIL = format('The oldest position is %s.', oldest);
    ELSIF start_position."position" > stable THEN
        RAISE EXCEPTION 'position % lies beyond the stable position %', start_position."position", stable
            USING ERRCODE = 'US018';
    END IF;
    RETURN start_position."position";
END
$$;
COMMENT ON FUNCTION usher.start_position IS
'Internal: where a cursor shall begin: null is now, 0 the oldest event that is kept, others as they are. Errors: US004 position_gone, US018 beyond the stable position.';
