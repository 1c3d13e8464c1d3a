CREATE FUNCTION boxoffice.settle_show(tenant integer, event bigint, show bigint, max integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    quiet  boolean := boxoffice.event_quiet(tenant, event); -- before the look that must find nothing more
    ids    uuid[];
    one    uuid;
    done   integer := 0;
    failed integer := 0;
BEGIN
    SELECT array_agg(d.booking_id) INTO ids
    FROM (SELECT b.booking_id FROM boxoffice.bookings b
          WHERE b.tenant_id = tenant AND b.show_id = show AND b.status IN ('reserved', 'payment_pending', 'confirmed')
          LIMIT max FOR NO KEY UPDATE SKIP LOCKED) d;
    IF ids IS NULL THEN
        IF quiet AND NOT EXISTS (SELECT FROM boxoffice.bookings b WHERE b.tenant_id = tenant AND b.show_id = show
                                 AND b.status IN ('reserved', 'payment_pending', 'confirmed')) THEN
            PERFORM FROM boxoffice.shows t WHERE t.tenant_id = tenant AND t.show_id = show FOR NO KEY UPDATE SKIP LOCKED;
            IF FOUND THEN
                UPDATE boxoffice.shows t SET settled = true WHERE t.tenant_id = tenant AND t.show_id = show;
                RETURN 1;
            END IF;
        END IF;
        RETURN 0;
    END IF;
    BEGIN
        PERFORM boxoffice.end_bookings(array_fill(tenant, ARRAY[cardinality(ids)]), ids, 'cancelled', 'cancelled by the organiser');
        RETURN cardinality(ids);
    EXCEPTION WHEN OTHERS THEN
        NULL; -- the stream of one is locked, say: then one by one
    END;
    FOR one IN SELECT i.id FROM unnest(ids) i (id) ORDER BY random() LOOP
        BEGIN
            PERFORM boxoffice.end_bookings(ARRAY[tenant], ARRAY[one], 'cancelled', 'cancelled by the organiser');
            done := done + 1;
        EXCEPTION WHEN OTHERS THEN
            failed := failed + 1;
            EXIT WHEN failed = 3; -- in another order the next time
        END;
    END LOOP;
    RETURN CASE WHEN done > 0 THEN done ELSE -1 END;
END
$$;
COMMENT ON FUNCTION boxoffice.settle_show IS
'Internal: bookings of a cancelled show are cancelled, up to max of them; when there are none, and nobody is left who did not know, the show is settled. Returns how many; 0 when others have to end first, -1 when some cannot be cancelled now.';
