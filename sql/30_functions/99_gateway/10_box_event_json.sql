CREATE FUNCTION usher.box_event_json(e boxoffice.events)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('event', e.event_id, 'title', e.title, 'description', e.description, 'venue', e.venue,
        'organiser', e.organiser, 'category', e.category_id, 'currency', e.currency, 'exponent', boxoffice.currency_exponent(e.currency),
        'status', e.status, 'user_limit', e.user_limit, 'max_expired_holds', e.max_expired_holds, 'sale_from', e.sale_from,
        'sale_until', e.sale_until, 'created_at', e.created_at, 'updated_at', e.updated_at))
$$;
COMMENT ON FUNCTION usher.box_event_json IS 'Internal: an event of the box office as the gateway replies it.';
