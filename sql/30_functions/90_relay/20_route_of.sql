CREATE FUNCTION usher.route_of(sink_id integer, tenant text, stream text, category text, type text, topic text, key text, data jsonb, metadata jsonb,
    OUT route_id bigint, OUT found_topic text, OUT found_key text, OUT outcome text)
RETURNS record
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_route_of';
COMMENT ON FUNCTION usher.route_of IS
'Internal, for usher.explain_route: the route, topic and key of an event; outcome: ok, none (no route matches) or no_topic.';
