CREATE FUNCTION boxoffice.locked_zone(tenant integer, zone bigint)
RETURNS boxoffice.zones
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    z boxoffice.zones;
BEGIN
    SELECT t.* INTO z FROM boxoffice.zones t WHERE t.tenant_id = tenant AND t.zone_id = zone FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no zone %', coalesce(zone::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN z;
END
$$;
COMMENT ON FUNCTION boxoffice.locked_zone IS 'Internal: a zone, locked. Error: US034 unknown_show.';
