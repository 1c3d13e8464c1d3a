CREATE FUNCTION boxoffice.do_add_seats(tenant integer, zone bigint, row_name text, row_rank integer, first integer, last integer, accessible integer[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n bigint;
BEGIN
    IF first IS NULL OR last IS NULL OR row_name IS NULL OR row_rank IS NULL OR first > last OR last::bigint - first >= 10000 OR row_name ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'a row has a name without control characters, a rank and 1 to 10000 seats' USING ERRCODE = 'US018';
    END IF;
    PERFORM boxoffice.zone_pin(tenant, zone);
    IF NOT (boxoffice.locked_zone(tenant, zone)).numbered THEN
        RAISE EXCEPTION 'zone % has no numbered seats', zone USING ERRCODE = 'US018';
    END IF;
    INSERT INTO boxoffice.seats (tenant_id, zone_id, label, row_rank, number, accessible)
    SELECT tenant, zone, row_name || s, do_add_seats.row_rank, s, coalesce(s = ANY (do_add_seats.accessible), false) FROM generate_series(first, last) s;
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE boxoffice.zones z SET capacity = z.capacity + n WHERE z.tenant_id = tenant AND z.zone_id = zone;
    PERFORM boxoffice.zone_give(tenant, zone, n);
    PERFORM boxoffice.emit(tenant, 'zone-' || zone, 'zone.seats_added', jsonb_build_object('zone', zone, 'row', row_name, 'first', first, 'last', last));
    RETURN n;
END
$$;
COMMENT ON FUNCTION boxoffice.do_add_seats IS 'Internal: boxoffice.add_seats, for a tenant.';
