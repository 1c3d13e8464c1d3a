CREATE FUNCTION boxoffice.item_json(i boxoffice.booking_items)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- (not SQL: a statement of it would be planned for each booking)
    RETURN (SELECT jsonb_build_object('item', i.item, 'zone', i.zone_id, 'price_type', i.price_type_id, 'quantity', i.quantity,
               'unit_price', i.unit_price, 'tax', i.tax, 'fee', i.fee)
        || CASE WHEN i.seats IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('seats', i.seats) END
        || CASE WHEN i.cancelled THEN '{"cancelled": true}'::jsonb ELSE '{}'::jsonb END);
END
$$;
COMMENT ON FUNCTION boxoffice.item_json IS 'Internal: an item of a booking, as in boxoffice.booking.items.';
