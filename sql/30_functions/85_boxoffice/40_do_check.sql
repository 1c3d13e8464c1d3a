CREATE FUNCTION boxoffice.do_check(tenant integer, wait interval)
RETURNS TABLE (invariant text, ok boolean, detail text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off -- all rows are joined with all, whatever the statistics say yet
SET work_mem = '64MB'
AS $$
DECLARE
    z       record;
    slot    bigint;
    counted bigint;
    zones   bigint := 0;
    loaded  bigint := 0;
    busy    bigint := 0;
    wrong   text[] := '{}';
    n       bigint;
    example text;
BEGIN
    IF wait IS NULL OR wait NOT BETWEEN interval '0' AND interval '1 hour' THEN
        RAISE EXCEPTION 'wait must be 0 to 1 hour' USING ERRCODE = 'US018';
    END IF;
    FOR z IN SELECT t.zone_id FROM boxoffice.zones t WHERE t.tenant_id = tenant ORDER BY t.zone_id LOOP
        zones := zones + 1;
        slot := boxoffice.zone_hold(tenant, z.zone_id, (1000 * extract(epoch FROM wait))::integer);
        counted := boxoffice.zone_free(tenant, z.zone_id);
        PERFORM boxoffice.zone_unhold();
        IF slot = -1 THEN
            busy := busy + 1;
        ELSIF slot IS NOT NULL THEN
            loaded := loaded + 1;
        END IF;
        IF slot <> counted AND slot <> -1 THEN
            wrong := wrong || format('zone %s: %s in memory, %s by its rows', z.zone_id, slot, counted);
        END IF;
        IF counted < 0 THEN
            wrong := wrong || format('zone %s: %s sold too many', z.zone_id, -counted);
        END IF;
    END LOOP;
    RETURN QUERY SELECT 'sold, held and free places are the capacity', cardinality(wrong) = 0,
        format('%s zones, %s in memory, %s too busy to compare%s', zones, loaded, busy, coalesce('; ' || nullif(array_to_string(wrong[1:5], '; '), ''), ''));

    SELECT count(*), min(format('booking %s is %s, its events say %s', coalesce(b.booking_id::text, e.stream), b.status, e.status)) INTO n, example
    FROM (SELECT * FROM boxoffice.bookings t WHERE t.tenant_id = tenant) b
    FULL JOIN (SELECT DISTINCT ON (l.stream) l.stream, l.data ->> 'status' AS status, (l.data ->> 'total')::bigint AS total, (l.data ->> 'quantity')::integer AS quantity
               FROM usher.log l WHERE l.tenant_id = tenant AND l.category = 'booking' AND l.data ? 'booking'
               ORDER BY l.stream, l.version DESC) e ON e.stream = 'booking-' || b.booking_id
    WHERE (b.status, b.total, b.quantity) IS DISTINCT FROM (e.status, e.total, e.quantity)
      AND (e.stream IS NOT NULL OR usher.oldest_position() <= 1);
    RETURN QUERY SELECT 'bookings are what their events say', n = 0, format('%s are not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(b.booking_id::text) INTO n, example
    FROM boxoffice.bookings b
    LEFT JOIN (SELECT i.booking_id, sum(i.quantity) AS quantity, sum(i.tax) AS tax, sum(i.fee) AS fee, sum(i.unit_price * i.quantity + i.tax + i.fee) AS total
               FROM boxoffice.booking_items i WHERE i.tenant_id = tenant AND NOT i.cancelled GROUP BY i.booking_id) i ON i.booking_id = b.booking_id
    WHERE b.tenant_id = tenant AND (b.quantity, b.tax, b.fee, b.total) IS DISTINCT FROM (i.quantity, i.tax, i.fee, i.total);
    RETURN QUERY SELECT 'amounts of bookings are the sums of their items', n = 0, format('%s are not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(format('seat %s of zone %s', coalesce(s.label, h.label), coalesce(s.zone_id, h.zone_id))) INTO n, example
    FROM (SELECT t.zone_id, t.label, t.booking_id FROM boxoffice.seats t WHERE t.tenant_id = tenant AND t.booking_id IS NOT NULL) s
    FULL JOIN (SELECT i.zone_id, l.label, i.booking_id
               FROM boxoffice.bookings b
               JOIN boxoffice.booking_items i ON i.tenant_id = b.tenant_id AND i.booking_id = b.booking_id
               CROSS JOIN LATERAL unnest(i.seats) AS l (label)
               WHERE b.tenant_id = tenant AND b.status IN ('reserved', 'payment_pending', 'confirmed') AND NOT i.cancelled) h
        ON h.zone_id = s.zone_id AND h.label = s.label AND h.booking_id = s.booking_id
    WHERE s.label IS NULL OR h.label IS NULL;
    RETURN QUERY SELECT 'a seat belongs to the one booking that holds it', n = 0, format('%s do not%s', n, coalesce(', first ' || example, ''));

    SELECT count(*), min(z2.zone_id)::text INTO n, example
    FROM boxoffice.zones z2 WHERE z2.tenant_id = tenant AND z2.numbered
      AND z2.capacity <> (SELECT count(*) FROM boxoffice.seats s WHERE s.tenant_id = tenant AND s.zone_id = z2.zone_id);
    RETURN QUERY SELECT 'a numbered zone has as many places as seats', n = 0, format('%s have not%s', n, coalesce(', first ' || example, ''));
END
$$;
COMMENT ON FUNCTION boxoffice.do_check IS 'Internal: boxoffice.check, for a tenant.';
