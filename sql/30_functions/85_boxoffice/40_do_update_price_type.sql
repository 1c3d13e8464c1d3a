CREATE FUNCTION boxoffice.do_update_price_type(tenant integer, price_type bigint, name text, unit_price bigint, tax_bp integer, fee_bp integer, ordinal integer, active boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p boxoffice.price_types;
BEGIN
    UPDATE boxoffice.price_types t
    SET name = coalesce(do_update_price_type.name, t.name), unit_price = coalesce(do_update_price_type.unit_price, t.unit_price),
        tax_bp = coalesce(do_update_price_type.tax_bp, t.tax_bp), fee_bp = coalesce(do_update_price_type.fee_bp, t.fee_bp),
        ordinal = coalesce(do_update_price_type.ordinal, t.ordinal), active = coalesce(do_update_price_type.active, t.active)
    WHERE t.tenant_id = tenant AND t.price_type_id = price_type
    RETURNING t.* INTO p;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no price type %', coalesce(price_type::text, 'null') USING ERRCODE = 'US034';
    END IF;
    PERFORM boxoffice.emit(tenant, 'zone-' || p.zone_id, 'zone.priced', jsonb_build_object('zone', p.zone_id, 'price_type', price_type, 'name', p.name,
        'unit_price', p.unit_price, 'tax_bp', p.tax_bp, 'fee_bp', p.fee_bp, 'active', p.active));
END
$$;
COMMENT ON FUNCTION boxoffice.do_update_price_type IS 'Internal: boxoffice.update_price_type, for a tenant.';
