CREATE FUNCTION usher.explain_route(sink text, type text, stream text, data jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}',
    published_topic text DEFAULT NULL, published_key text DEFAULT NULL,
    OUT route_id bigint, OUT topic text, OUT key text, OUT reason text)
RETURNS record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked   integer;
    outcome text;
    route   usher.routes;
BEGIN
    SELECT s.sink_id INTO asked FROM usher.sinks s WHERE s.name = explain_route.sink;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sink "%" does not exist', explain_route.sink
            USING ERRCODE = 'US022', HINT = 'SELECT DISTINCT sink FROM usher.sink_status lists them.';
    END IF;
    IF explain_route.type IS NULL OR (stream IS NULL) = (published_topic IS NULL) THEN
        RAISE EXCEPTION 'an event has a type, and either a stream or a topic' USING ERRCODE = 'US018';
    END IF;
    IF jsonb_typeof(data) IS DISTINCT FROM 'object' OR jsonb_typeof(metadata) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'data and metadata are not objects' USING ERRCODE = 'US007';
    END IF;
    SELECT o.route_id, o.found_topic, o.found_key, o.outcome INTO route_id, topic, key, outcome
    FROM usher.route_of(asked, usher.tenant_name(usher.current_tenant()), stream, usher.category(stream), explain_route.type,
                        published_topic, published_key, data, metadata) o;
    SELECT r.* INTO route FROM usher.routes r WHERE r.route_id = explain_route.route_id;
    reason := CASE
        WHEN outcome = 'none' THEN 'no route matches: the sink passes over it'
        WHEN explain_route.route_id IS NULL THEN 'the sink has no routes: everything goes to {topic} with {key}'
        ELSE format('the first that matches: pattern %s%s, priority %s', route.pattern, ' with filter ' || route.filter::text, route.priority) END
        || CASE WHEN outcome = 'no_topic' THEN '; its topic has no value for this event, or is too long: a dead letter' ELSE '' END;
END
$$;
COMMENT ON FUNCTION usher.explain_route IS
'What a sink would do with an event: which route takes it (null: none, or the default of a sink without routes), to which topic, with which key, and why. Of an event of a stream, or with stream null of one that was published to published_topic with published_key. The tenant is the session''s. Errors: US022 unknown_sink, US018 for an event without type, or not with one of stream and topic, US007 for data or metadata that is no object.';
