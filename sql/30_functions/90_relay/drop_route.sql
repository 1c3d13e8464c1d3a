CREATE FUNCTION usher.drop_route(route_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.routes r WHERE r.route_id = drop_route.route_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'route % does not exist', drop_route.route_id USING ERRCODE = 'US023';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.drop_route IS
'Remove a route. A sink without routes sends everything again. Error: US023 unknown_route.';
