CREATE FUNCTION usher.alter_route(route_id bigint, pattern text DEFAULT NULL, topic text DEFAULT NULL, key text DEFAULT NULL,
    filter jsonb DEFAULT NULL, priority integer DEFAULT NULL, tombstones boolean DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE usher.routes r
    SET pattern = coalesce(alter_route.pattern, r.pattern), topic = coalesce(alter_route.topic, r.topic),
        key = coalesce(alter_route.key, r.key), filter = nullif(coalesce(alter_route.filter, r.filter), '{}'),
        priority = coalesce(alter_route.priority, r.priority), tombstones = coalesce(alter_route.tombstones, r.tombstones)
    WHERE r.route_id = alter_route.route_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'route % does not exist', alter_route.route_id USING ERRCODE = 'US023';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.alter_route IS
'Change a route; what is null stays, a filter {} removes the filter. Errors: US023 unknown_route, US006 and US018 as for usher.add_route.';
