CREATE FUNCTION boxoffice.do_set_capacity(tenant integer, zone bigint, capacity bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    z boxoffice.zones;
BEGIN
    PERFORM boxoffice.zone_pin(tenant, zone);
    z := boxoffice.locked_zone(tenant, zone);
    IF z.numbered THEN
        RAISE EXCEPTION 'a numbered zone has as many places as seats' USING ERRCODE = 'US018', HINT = 'Call boxoffice.add_seats.';
    END IF;
    IF capacity IS NULL OR capacity < 0 THEN
        RAISE EXCEPTION 'a capacity cannot be %', coalesce(capacity::text, 'null') USING ERRCODE = 'US018';
    END IF;
    IF capacity < z.capacity AND NOT boxoffice.zone_take(tenant, zone, z.capacity - capacity) THEN
        RAISE EXCEPTION 'zone % cannot lose % places', zone, z.capacity - capacity
            USING ERRCODE = 'US030', DETAIL = format('%s are left.', boxoffice.zone_peek(tenant, zone));
    END IF;
    UPDATE boxoffice.zones t SET capacity = do_set_capacity.capacity WHERE t.tenant_id = tenant AND t.zone_id = zone;
    IF capacity > z.capacity THEN
        PERFORM boxoffice.zone_give(tenant, zone, capacity - z.capacity);
    END IF;
    PERFORM boxoffice.emit(tenant, 'zone-' || zone, 'zone.capacity_changed', jsonb_build_object('zone', zone, 'capacity', capacity, 'before', z.capacity));
END
$$;
COMMENT ON FUNCTION boxoffice.do_set_capacity IS 'Internal: boxoffice.set_capacity, for a tenant.';
