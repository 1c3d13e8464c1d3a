CREATE FUNCTION usher.drop_cursor()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    EXECUTE format('DROP SEQUENCE IF EXISTS %s', usher.cursor_name(OLD.sink_id, OLD.lane));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.drop_cursor IS
'Internal: the cursor of a lane goes with it. Error: 55P03 when somebody else (a dump, say) looks at it for more than 5 seconds.';

CREATE TRIGGER drop_cursor AFTER DELETE ON usher.sink_lanes
    FOR EACH ROW EXECUTE FUNCTION usher.drop_cursor();
