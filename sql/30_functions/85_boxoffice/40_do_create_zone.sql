CREATE FUNCTION boxoffice.do_create_zone(tenant integer, show bigint, name text, capacity bigint, numbered boolean)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM boxoffice.shows s WHERE s.tenant_id = tenant AND s.show_id = show) THEN
        RAISE EXCEPTION 'there is no show %', coalesce(show::text, 'null') USING ERRCODE = 'US034';
    END IF;
    IF numbered AND capacity <> 0 THEN
        RAISE EXCEPTION 'a numbered zone has as many places as seats' USING ERRCODE = 'US018', HINT = 'Give 0, and call boxoffice.add_seats.';
    END IF;
    INSERT INTO boxoffice.zones (tenant_id, show_id, name, capacity, numbered) VALUES (tenant, show, name, capacity, coalesce(numbered, false)) RETURNING zone_id INTO id;
    PERFORM boxoffice.emit(tenant, 'zone-' || id, 'zone.created', jsonb_build_object('zone', id, 'show', show, 'name', name, 'capacity', capacity, 'numbered', numbered));
    RETURN id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_create_zone IS 'Internal: boxoffice.create_zone, for a tenant.';
