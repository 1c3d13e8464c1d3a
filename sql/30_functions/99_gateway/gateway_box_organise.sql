CREATE FUNCTION usher.gateway_box_organise(tenant_name text, user_id text, work text, id bigint, body jsonb)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
DECLARE
    made     bigint;
    price    boxoffice.price_types;
    show     boxoffice.shows;
    nsp      text;
    relation text;
    rule     text;
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    BEGIN
        CASE work
            WHEN 'create category' THEN
                made := boxoffice.create_category(body ->> 'slug', body ->> 'name');
                RETURN jsonb_build_object('category', made, 'slug', body ->> 'slug', 'name', body ->> 'name');
            WHEN 'create event' THEN
                made := boxoffice.create_event(body ->> 'title', body ->> 'currency', (body ->> 'category')::bigint, body ->> 'description', body ->> 'venue',
                    body ->> 'organiser', (body ->> 'user_limit')::integer, (body ->> 'sale_from')::timestamptz, (body ->> 'sale_until')::timestamptz,
                    CASE WHEN body ? 'max_expired_holds' THEN (body ->> 'max_expired_holds')::integer ELSE 3 END);
            WHEN 'update event' THEN
                PERFORM usher.box_update_event(usher.gateway_tenant(tenant_name), id, body);
            WHEN 'cancel event' THEN
                PERFORM boxoffice.cancel_event(id, body ->> 'reason');
            WHEN 'create show' THEN
                made := boxoffice.create_show(id, body ->> 'time_zone', (body ->> 'starts_local')::timestamp);
            WHEN 'update show' THEN
                show := usher.box_shown_show(usher.gateway_tenant(tenant_name), id, true);
                IF body <> '{}' THEN
                    PERFORM boxoffice.move_show(id, coalesce((body ->> 'starts_local')::timestamp, show.starts_local), body ->> 'time_zone');
                END IF;
            WHEN 'cancel show' THEN
                PERFORM boxoffice.cancel_show(id, body ->> 'reason');
            WHEN 'create zone' THEN
                made := boxoffice.create_zone(id, body ->> 'name', coalesce((body ->> 'capacity')::bigint, 0), coalesce((body ->> 'numbered')::boolean, false));
                PERFORM usher.box_add_price(made, p) FROM jsonb_array_elements(coalesce(nullif(body -> 'prices', 'null'), '[]')) p;
                PERFORM usher.box_add_row(made, r) FROM jsonb_array_elements(coalesce(nullif(body -> 'rows', 'null'), '[]')) r;
            WHEN 'update zone' THEN
                IF body ? 'capacity' THEN
                    PERFORM boxoffice.set_capacity(id, (body ->> 'capacity')::bigint);
                END IF;
                IF body ? 'name' THEN
                    PERFORM boxoffice.update_zone(id, body ->> 'name');
                END IF;
            WHEN 'create row' THEN
                PERFORM usher.box_add_row(id, body);
            WHEN 'create price' THEN
                PERFORM usher.box_add_price(id, body);
            WHEN 'update price', 'withdraw price' THEN
                SELECT t.* INTO price FROM boxoffice.price_types t WHERE t.tenant_id = usher.gateway_tenant(tenant_name) AND t.price_type_id = id;
                PERFORM boxoffice.update_price_type(id, body ->> 'name', (body ->> 'unit_price')::bigint, (body ->> 'tax_bp')::integer,
                    (body ->> 'fee_bp')::integer, (body ->> 'ordinal')::integer, CASE work WHEN 'update price' THEN (body ->> 'active')::boolean ELSE false END);
                made := price.zone_id;
        END CASE;
    EXCEPTION WHEN check_violation THEN
        GET STACKED DIAGNOSTICS nsp = SCHEMA_NAME, relation = TABLE_NAME, rule = CONSTRAINT_NAME;
        IF nsp <> 'boxoffice' THEN
            RAISE; -- of a table that a projection writes
        END IF;
        RAISE EXCEPTION 'what is given does not fit: %', (SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
            WHERE c.conrelid = format('%I.%I', nsp, relation)::regclass AND c.conname = rule) USING ERRCODE = 'US018';
    END;
    RETURN usher.gateway_box_one(tenant_name, CASE split_part(work, ' ', 2) WHEN 'event' THEN 'event' WHEN 'show' THEN 'show' ELSE 'zone' END, true,
        coalesce(made, id));
END
$$;
COMMENT ON FUNCTION usher.gateway_box_organise IS
'What an organiser does, by the members of body. work: create category; create, update or cancel event (an update changes its status, too); create, update or cancel show (id: of the event, or its own); create or update zone (id: of the show, or its own; a new one with prices and rows of seats); create row (id: of the zone); create price (id: of the zone), update or withdraw price (its own). An update is a merge patch: what is absent stays, null clears. The category, event, show or zone as JSON. Errors: those of the functions of boxoffice that do it, US010 unknown_tenant, US034 unknown_show, US018 invalid_argument with the rule that a value breaks, 22007 and others of values. For usher_gateway.';
