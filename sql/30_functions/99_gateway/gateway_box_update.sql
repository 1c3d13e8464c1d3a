CREATE FUNCTION usher.gateway_box_update(tenant_name text, user_id text, what text, id bigint, body jsonb)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
DECLARE
    status text := (SELECT e.status FROM boxoffice.events e WHERE e.tenant_id = usher.gateway_tenant(tenant_name) AND e.event_id = id);
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    CASE what
        WHEN 'event' THEN
            IF body - 'status' <> '{}' OR body ->> 'status' IS NULL THEN
                PERFORM boxoffice.update_event(id, body ->> 'title', body ->> 'description', body ->> 'venue', body ->> 'organiser', (body ->> 'category')::bigint,
                    (body ->> 'user_limit')::integer, (body ->> 'sale_from')::timestamptz, (body ->> 'sale_until')::timestamptz);
            END IF;
            IF body ->> 'status' <> status OR status IS NULL THEN
                CASE body ->> 'status'
                    WHEN 'published' THEN PERFORM boxoffice.publish_event(id);
                    WHEN 'ended' THEN PERFORM boxoffice.end_event(id);
                    WHEN 'cancelled' THEN PERFORM boxoffice.cancel_event(id);
                    ELSE RAISE EXCEPTION 'event % is %', id, status USING ERRCODE = 'US037';
                END CASE;
            END IF;
        WHEN 'show' THEN
            PERFORM boxoffice.move_show(id, (body ->> 'starts_local')::timestamp, body ->> 'time_zone');
        WHEN 'zone' THEN
            PERFORM boxoffice.set_capacity(id, (body ->> 'capacity')::bigint);
    END CASE;
    RETURN usher.gateway_box_one(tenant_name, what, true, id);
END
$$;
COMMENT ON FUNCTION usher.gateway_box_update IS
'Change an event (also its status: published, ended, cancelled), move a show, or change a zone''s capacity, by the members of body; the result as JSON. Errors: those of boxoffice.update_event, publish_event, end_event, cancel_event, move_show, set_capacity, US010 unknown_tenant. For usher_gateway.';
