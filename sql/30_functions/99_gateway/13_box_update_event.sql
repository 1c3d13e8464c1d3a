CREATE FUNCTION usher.box_update_event(tenant integer, event bigint, body jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    status text := (usher.box_shown_event(tenant, event, true)).status;
BEGIN
    IF body - 'status' <> '{}' THEN
        PERFORM boxoffice.update_event(event, body ->> 'title',
            CASE WHEN body ? 'description' THEN coalesce(body ->> 'description', '') END,
            CASE WHEN body ? 'venue' THEN coalesce(body ->> 'venue', '') END,
            CASE WHEN body ? 'organiser' THEN coalesce(body ->> 'organiser', '') END,
            (body ->> 'category')::bigint, (body ->> 'user_limit')::integer, (body ->> 'sale_from')::timestamptz, (body ->> 'sale_until')::timestamptz,
            (body ->> 'max_expired_holds')::integer,
            ARRAY(SELECT m.key FROM jsonb_each(body) m
                  WHERE m.value = 'null' AND m.key IN ('category', 'user_limit', 'sale_from', 'sale_until', 'max_expired_holds')));
    END IF;
    IF body ->> 'status' <> status THEN
        CASE body ->> 'status'
            WHEN 'published' THEN PERFORM boxoffice.publish_event(event);
            WHEN 'ended' THEN PERFORM boxoffice.end_event(event);
            WHEN 'cancelled' THEN PERFORM boxoffice.cancel_event(event);
            ELSE RAISE EXCEPTION 'event % is %', event, status USING ERRCODE = 'US037';
        END CASE;
    END IF;
END
$$;
COMMENT ON FUNCTION usher.box_update_event IS
'Internal: change an event by a merge patch (RFC 7396): what is absent stays, null clears. Errors: those of boxoffice.update_event, publish_event, end_event, cancel_event.';
