CREATE FUNCTION usher.box_add_price(zone bigint, body jsonb)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT boxoffice.create_price_type(zone, body ->> 'name', (body ->> 'unit_price')::bigint, coalesce((body ->> 'tax_bp')::integer, 0),
        coalesce((body ->> 'fee_bp')::integer, 0), coalesce((body ->> 'ordinal')::integer, 0))
$$;
COMMENT ON FUNCTION usher.box_add_price IS 'Internal: boxoffice.create_price_type, by the members of body.';
