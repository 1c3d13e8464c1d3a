CREATE FUNCTION usher.box_add_row(zone bigint, body jsonb)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT boxoffice.add_seats(zone, body ->> 'row', (body ->> 'rank')::integer, (body ->> 'first')::integer, (body ->> 'last')::integer,
        CASE WHEN jsonb_typeof(body -> 'accessible') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(body -> 'accessible')::integer) END)
$$;
COMMENT ON FUNCTION usher.box_add_row IS 'Internal: boxoffice.add_seats, by the members of body.';
