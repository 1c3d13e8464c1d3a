CREATE FUNCTION boxoffice.do_update_event(tenant integer, event bigint, title text, description text, venue text, organiser text, category bigint, user_limit integer, sale_from timestamptz, sale_until timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events := boxoffice.locked_event(tenant, event);
BEGIN
    IF e.status IN ('cancelled', 'ended') THEN
        RAISE EXCEPTION 'event % is %', event, e.status USING ERRCODE = 'US037';
    END IF;
    UPDATE boxoffice.events t
    SET title = coalesce(do_update_event.title, t.title), description = coalesce(do_update_event.description, t.description),
        venue = coalesce(do_update_event.venue, t.venue), organiser = coalesce(do_update_event.organiser, t.organiser),
        category_id = coalesce(category, t.category_id), user_limit = coalesce(do_update_event.user_limit, t.user_limit),
        sale_from = coalesce(do_update_event.sale_from, t.sale_from), sale_until = coalesce(do_update_event.sale_until, t.sale_until),
        updated_at = clock_timestamp()
    WHERE t.tenant_id = tenant AND t.event_id = event;
    PERFORM boxoffice.emit(tenant, 'event-' || event, 'event.updated', jsonb_strip_nulls(jsonb_build_object('event', event, 'title', title, 'description', description,
        'venue', venue, 'organiser', organiser, 'category', category, 'user_limit', user_limit, 'sale_from', sale_from, 'sale_until', sale_until)));
END
$$;
COMMENT ON FUNCTION boxoffice.do_update_event IS 'Internal: boxoffice.update_event, for a tenant.';
