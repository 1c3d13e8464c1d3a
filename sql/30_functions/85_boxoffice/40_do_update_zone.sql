CREATE FUNCTION boxoffice.do_update_zone(tenant integer, zone bigint, name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before text := (boxoffice.locked_zone(tenant, zone)).name;
BEGIN
    UPDATE boxoffice.zones z SET name = coalesce(do_update_zone.name, z.name) WHERE z.tenant_id = tenant AND z.zone_id = zone;
    PERFORM boxoffice.emit(tenant, 'zone-' || zone, 'zone.updated', jsonb_build_object('zone', zone, 'name', coalesce(name, before), 'before', before));
END
$$;
COMMENT ON FUNCTION boxoffice.do_update_zone IS 'Internal: boxoffice.update_zone, for a tenant.';
