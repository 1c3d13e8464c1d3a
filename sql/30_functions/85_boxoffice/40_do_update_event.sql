CREATE FUNCTION boxoffice.do_update_event(tenant integer, event bigint, title text, description text, venue text, organiser text, category bigint, user_limit integer, sale_from timestamptz, sale_until timestamptz, max_expired_holds integer, clear text[])
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
    IF EXISTS (SELECT FROM unnest(clear) c (name) WHERE c.name IS NULL OR c.name NOT IN ('category', 'user_limit', 'sale_from', 'sale_until', 'max_expired_holds')) THEN
        RAISE EXCEPTION 'of an event category, user_limit, sale_from, sale_until and max_expired_holds can be cleared, not all of %', clear USING ERRCODE = 'US018';
    END IF;
    IF category IS NOT NULL AND NOT EXISTS (SELECT FROM boxoffice.categories c WHERE c.tenant_id = tenant AND c.category_id = category) THEN
        RAISE EXCEPTION 'there is no category %', category USING ERRCODE = 'US018';
    END IF;
    UPDATE boxoffice.events t
    SET title = coalesce(do_update_event.title, t.title), description = coalesce(do_update_event.description, t.description),
        venue = coalesce(do_update_event.venue, t.venue), organiser = coalesce(do_update_event.organiser, t.organiser),
        category_id = coalesce(category, CASE WHEN 'category' = ANY (clear) THEN NULL ELSE t.category_id END),
        user_limit = coalesce(do_update_event.user_limit, CASE WHEN 'user_limit' = ANY (clear) THEN NULL ELSE t.user_limit END),
        sale_from = coalesce(do_update_event.sale_from, CASE WHEN 'sale_from' = ANY (clear) THEN NULL ELSE t.sale_from END),
        sale_until = coalesce(do_update_event.sale_until, CASE WHEN 'sale_until' = ANY (clear) THEN NULL ELSE t.sale_until END),
        max_expired_holds = coalesce(do_update_event.max_expired_holds, CASE WHEN 'max_expired_holds' = ANY (clear) THEN NULL ELSE t.max_expired_holds END),
        updated_at = clock_timestamp()
    WHERE t.tenant_id = tenant AND t.event_id = event;
    PERFORM boxoffice.emit(tenant, 'event-' || event, 'event.updated', coalesce((SELECT jsonb_object_agg(c.name, NULL) FROM unnest(clear) c (name)), '{}')
        || jsonb_strip_nulls(jsonb_build_object('event', event, 'title', title, 'description', description, 'venue', venue, 'organiser', organiser,
            'category', category, 'user_limit', user_limit, 'sale_from', sale_from, 'sale_until', sale_until, 'max_expired_holds', max_expired_holds)));
END
$$;
COMMENT ON FUNCTION boxoffice.do_update_event IS 'Internal: boxoffice.update_event, for a tenant.';
