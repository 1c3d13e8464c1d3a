CREATE FUNCTION usher.add_route(sink text, pattern text, topic text, key text DEFAULT '{stream}', filter jsonb DEFAULT NULL,
    priority integer DEFAULT 0, tombstones boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    routed CONSTANT integer := usher.sink_named(add_route.sink);
    new_id bigint;
BEGIN
    INSERT INTO usher.routes AS r (sink_id, pattern, topic, key, filter, priority, tombstones)
    VALUES (routed, add_route.pattern, add_route.topic, add_route.key, nullif(add_route.filter, '{}'),
            coalesce(add_route.priority, 0), coalesce(add_route.tombstones, false))
    RETURNING r.route_id INTO new_id;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION usher.add_route IS
'Send events whose type matches a pattern, and that a filter lets through, to a topic. topic, key: templates with {category} {tenant} {type} {type[0]} {stream} {topic} {key} {data.field} {metadata.field}; a key without a value becomes the event''s own key or stream, an empty template means no key; an event whose topic has no value becomes a dead letter. filter: an object of type and stream (equal) and data and metadata (contained). The first route that matches wins: higher priority, then patterns without an asterisk, then longer ones, then older ones. With its first route a sink stops sending what no route matches. tombstones: the end of a stream becomes a message without a body. Returns the route''s id. Errors: US022 unknown_sink, US006 invalid_name for the pattern, US018 for a template or filter that is none.';
