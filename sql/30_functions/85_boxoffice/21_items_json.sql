CREATE FUNCTION boxoffice.items_json(tenant integer, booking uuid)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- (not SQL: a statement of it would be planned for each booking)
    RETURN (SELECT coalesce(jsonb_agg(boxoffice.item_json(i) ORDER BY i.item), '[]')
    FROM boxoffice.booking_items i WHERE i.tenant_id = tenant AND i.booking_id = booking);
END
$$;
COMMENT ON FUNCTION boxoffice.items_json IS 'Internal: the items of a booking.';
