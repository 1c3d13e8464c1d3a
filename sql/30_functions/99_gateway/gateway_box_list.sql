CREATE FUNCTION usher.gateway_box_list(tenant_name text, what text, drafts boolean, filter jsonb DEFAULT '{}', after bigint DEFAULT 0, max integer DEFAULT 100)
RETURNS TABLE (id bigint, item jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant integer := usher.gateway_tenant(tenant_name);
BEGIN
    CASE what
        WHEN 'categories' THEN
            RETURN QUERY SELECT c.category_id, jsonb_build_object('category', c.category_id, 'slug', c.slug, 'name', c.name)
                FROM boxoffice.categories c WHERE c.tenant_id = tenant AND c.category_id > gateway_box_list.after
                ORDER BY c.category_id LIMIT gateway_box_list.max;
        WHEN 'events' THEN
            RETURN QUERY SELECT e.event_id, usher.box_event_json(e)
                FROM boxoffice.events e
                WHERE e.tenant_id = tenant AND e.event_id > gateway_box_list.after AND (drafts OR e.status <> 'draft')
                  AND (filter ->> 'status' IS NULL OR e.status = filter ->> 'status')
                  AND (filter ->> 'category' IS NULL OR e.category_id = (filter ->> 'category')::bigint)
                  AND (filter ->> 'organiser' IS NULL OR e.organiser = filter ->> 'organiser')
                  AND (filter ->> 'venue' IS NULL OR e.venue = filter ->> 'venue')
                  AND (filter ->> 'title' IS NULL OR strpos(lower(e.title), lower(filter ->> 'title')) > 0)
                ORDER BY e.event_id LIMIT gateway_box_list.max;
        WHEN 'shows' THEN
            PERFORM usher.box_shown_event(tenant, (filter ->> 'event')::bigint, drafts);
            RETURN QUERY SELECT s.show_id, usher.box_show_json(s)
                FROM boxoffice.shows s
                WHERE s.tenant_id = tenant AND s.event_id = (filter ->> 'event')::bigint AND s.show_id > gateway_box_list.after
                ORDER BY s.show_id LIMIT gateway_box_list.max;
        WHEN 'zones' THEN
            PERFORM usher.box_shown_show(tenant, (filter ->> 'show')::bigint, drafts);
            RETURN QUERY SELECT z.zone_id, usher.box_zone_json(z, drafts)
                FROM boxoffice.zones z
                WHERE z.tenant_id = tenant AND z.show_id = (filter ->> 'show')::bigint AND z.zone_id > gateway_box_list.after
                ORDER BY z.zone_id LIMIT gateway_box_list.max;
    END CASE;
END
$$;
COMMENT ON FUNCTION usher.gateway_box_list IS
'Categories, events (filter: status, category, organiser, venue, a part of the title), shows (filter: event) or zones with their prices (filter: show) as JSON, by id. drafts: also what is not published yet. Errors: US010 unknown_tenant, US034 unknown_show. For usher_gateway.';
