CREATE FUNCTION boxoffice.do_availability(tenant integer, show bigint)
RETURNS TABLE (zone_id bigint, name text, capacity bigint, free bigint, numbered boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM boxoffice.shows s WHERE s.tenant_id = tenant AND s.show_id = show) THEN
        RAISE EXCEPTION 'there is no show %', coalesce(show::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN QUERY SELECT z.zone_id, z.name, z.capacity,
            greatest(coalesce(boxoffice.zone_peek(tenant, z.zone_id), boxoffice.zone_free(tenant, z.zone_id)), 0), z.numbered
        FROM boxoffice.zones z WHERE z.tenant_id = tenant AND z.show_id = show ORDER BY z.zone_id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_availability IS 'Internal: boxoffice.availability, for a tenant.';
