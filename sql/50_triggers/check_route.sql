CREATE FUNCTION usher.check_route_row()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM usher.check_route(NEW.pattern, NEW.topic, NEW.key, NEW.filter);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION usher.check_route_row IS
'Internal: templates and filter of a route are checked, also when the table is edited by hand. Errors: US006, US018.';

CREATE TRIGGER check_route BEFORE INSERT OR UPDATE ON usher.routes
    FOR EACH ROW EXECUTE FUNCTION usher.check_route_row();
