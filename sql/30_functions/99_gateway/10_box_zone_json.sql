CREATE FUNCTION usher.box_zone_json(z boxoffice.zones, drafts boolean)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('zone', z.zone_id, 'show', z.show_id, 'name', z.name, 'capacity', z.capacity, 'numbered', z.numbered,
        'prices', coalesce((SELECT jsonb_agg(jsonb_build_object('price_type', p.price_type_id, 'name', p.name, 'unit_price', p.unit_price,
                                                                'tax_bp', p.tax_bp, 'fee_bp', p.fee_bp, 'ordinal', p.ordinal, 'active', p.active) ORDER BY p.ordinal, p.price_type_id)
                            FROM boxoffice.price_types p WHERE p.tenant_id = z.tenant_id AND p.zone_id = z.zone_id AND (p.active OR drafts)), '[]'))
$$;
COMMENT ON FUNCTION usher.box_zone_json IS 'Internal: a zone with its prices as the gateway replies it. drafts: also those that were withdrawn.';
