CREATE FUNCTION usher.sink_lag("position" bigint)
RETURNS TABLE (events bigint, seconds double precision)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stable bigint := usher.stable_position();
    oldest timestamptz;
BEGIN
    IF sink_lag."position" >= stable THEN
        RETURN QUERY SELECT 0::bigint, 0::double precision;
        RETURN;
    END IF;
    -- the first partition that has something behind the position decides
    SELECT l.recorded_at INTO oldest FROM usher.log l
    WHERE l.position > sink_lag."position" AND l.position <= stable
    ORDER BY l.position LIMIT 1;
    RETURN QUERY SELECT CASE WHEN oldest IS NULL THEN 0 ELSE stable - sink_lag."position" END,
        coalesce(extract(epoch FROM clock_timestamp() - oldest)::double precision, 0);
END
$$;
COMMENT ON FUNCTION usher.sink_lag IS
'Internal, for usher.sink_status: positions between a cursor and the stable position, and the age in seconds of the oldest event behind the cursor.';
