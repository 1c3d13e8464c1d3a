CREATE FUNCTION boxoffice.do_create_price_type(tenant integer, zone bigint, name text, unit_price bigint, tax_bp integer, fee_bp integer, ordinal integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM boxoffice.zones z WHERE z.tenant_id = tenant AND z.zone_id = zone) THEN
        RAISE EXCEPTION 'there is no zone %', coalesce(zone::text, 'null') USING ERRCODE = 'US034';
    END IF;
    INSERT INTO boxoffice.price_types (tenant_id, zone_id, name, unit_price, tax_bp, fee_bp, ordinal)
    VALUES (tenant, zone, name, unit_price, tax_bp, fee_bp, ordinal) RETURNING price_type_id INTO id;
    PERFORM boxoffice.emit(tenant, 'zone-' || zone, 'zone.priced',
        jsonb_build_object('zone', zone, 'price_type', id, 'name', name, 'unit_price', unit_price, 'tax_bp', tax_bp, 'fee_bp', fee_bp));
    RETURN id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_create_price_type IS 'Internal: boxoffice.create_price_type, for a tenant.';
