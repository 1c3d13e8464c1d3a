CREATE FUNCTION boxoffice.settle_cancelled(max integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s' -- a stream can be locked by whoever appends to it; others' bookings do not wait for him
SET enable_seqscan = off -- some rows by an index, whatever the statistics say
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    s       record;
    quiet   boolean;
    tenants integer[];
    ids     uuid[];
BEGIN
    SELECT t.* INTO s FROM boxoffice.shows t WHERE t.cancelled AND NOT t.settled ORDER BY t.updated_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    quiet := boxoffice.event_quiet(s.tenant_id, s.event_id); -- before the look that must find nothing more
    SELECT array_agg(d.tenant_id), array_agg(d.booking_id) INTO tenants, ids
    FROM (SELECT b.tenant_id, b.booking_id FROM boxoffice.bookings b
          WHERE b.tenant_id = s.tenant_id AND b.show_id = s.show_id AND b.status IN ('reserved', 'payment_pending', 'confirmed')
          LIMIT max FOR NO KEY UPDATE SKIP LOCKED) d;
    IF ids IS NOT NULL THEN
        PERFORM boxoffice.end_bookings(tenants, ids, 'cancelled', 'cancelled by the organiser');
        RETURN cardinality(ids);
    END IF;
    IF quiet AND NOT EXISTS (SELECT FROM boxoffice.bookings b WHERE b.tenant_id = s.tenant_id AND b.show_id = s.show_id
                             AND b.status IN ('reserved', 'payment_pending', 'confirmed')) THEN
        UPDATE boxoffice.shows t SET settled = true WHERE t.tenant_id = s.tenant_id AND t.show_id = s.show_id;
        RETURN 1;
    END IF;
    RETURN 0;
END
$$;
COMMENT ON FUNCTION boxoffice.settle_cancelled IS
'Internal: bookings of a cancelled show are cancelled, up to max of them. Returns 0 when there is nothing to do, or others have to end first.';
