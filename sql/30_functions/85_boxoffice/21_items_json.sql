CREATE FUNCTION boxoffice.items_json(tenant integer, booking uuid)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(boxoffice.item_json(i) ORDER BY i.item), '[]')
    FROM boxoffice.booking_items i WHERE i.tenant_id = tenant AND i.booking_id = booking
$$;
COMMENT ON FUNCTION boxoffice.items_json IS 'Internal: the items of a booking.';
