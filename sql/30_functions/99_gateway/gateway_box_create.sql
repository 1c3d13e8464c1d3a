CREATE FUNCTION usher.gateway_box_create(tenant_name text, user_id text, what text, parent bigint, body jsonb)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
DECLARE
    id   bigint;
    part jsonb;
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    CASE what
        WHEN 'category' THEN
            id := boxoffice.create_category(body ->> 'slug', body ->> 'name');
            RETURN jsonb_build_object('category', id, 'slug', body ->> 'slug', 'name', body ->> 'name');
        WHEN 'event' THEN
            id := boxoffice.create_event(body ->> 'title', body ->> 'currency', (body ->> 'category')::bigint, body ->> 'description', body ->> 'venue',
                body ->> 'organiser', (body ->> 'user_limit')::integer, (body ->> 'sale_from')::timestamptz, (body ->> 'sale_until')::timestamptz,
                CASE WHEN body ? 'max_expired_holds' THEN (body ->> 'max_expired_holds')::integer ELSE 3 END);
        WHEN 'show' THEN
            id := boxoffice.create_show(parent, body ->> 'time_zone', (body ->> 'starts_local')::timestamp);
        WHEN 'zone' THEN
            id := boxoffice.create_zone(parent, body ->> 'name', coalesce((body ->> 'capacity')::bigint, 0), coalesce((body ->> 'numbered')::boolean, false));
            FOR part IN SELECT jsonb_array_elements(CASE WHEN jsonb_typeof(body -> 'prices') = 'array' THEN body -> 'prices' ELSE '[]' END) LOOP
                PERFORM usher.gateway_box_create(tenant_name, user_id, 'price', id, part);
            END LOOP;
            FOR part IN SELECT jsonb_array_elements(CASE WHEN jsonb_typeof(body -> 'rows') = 'array' THEN body -> 'rows' ELSE '[]' END) LOOP
                PERFORM usher.gateway_box_create(tenant_name, user_id, 'row', id, part);
            END LOOP;
        WHEN 'price' THEN
            PERFORM boxoffice.create_price_type(parent, body ->> 'name', (body ->> 'unit_price')::bigint, coalesce((body ->> 'tax_bp')::integer, 0),
                coalesce((body ->> 'fee_bp')::integer, 0), coalesce((body ->> 'ordinal')::integer, 0));
            RETURN usher.gateway_box_one(tenant_name, 'zone', true, parent);
        WHEN 'row' THEN
            PERFORM boxoffice.add_seats(parent, body ->> 'row', (body ->> 'rank')::integer, (body ->> 'first')::integer, (body ->> 'last')::integer,
                CASE WHEN jsonb_typeof(body -> 'accessible') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(body -> 'accessible')::integer) END);
            RETURN usher.gateway_box_one(tenant_name, 'zone', true, parent);
    END CASE;
    RETURN usher.gateway_box_one(tenant_name, what, true, id);
END
$$;
COMMENT ON FUNCTION usher.gateway_box_create IS
'Make a category, an event, a show of an event, a zone of a show (with prices and rows of seats), a price or a row of seats of a zone, by the members of body; the category, event, show or zone as JSON. Errors: those of boxoffice.create_category, create_event, create_show, create_zone, create_price_type, add_seats, US010 unknown_tenant, 22007 and others of values. For usher_gateway.';
