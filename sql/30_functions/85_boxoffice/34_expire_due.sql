CREATE FUNCTION boxoffice.expire_due(max integer, skip integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s' -- a stream can be locked by whoever appends to it; others' bookings do not wait for him
SET enable_seqscan = off -- some rows by an index, whatever the statistics say
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    tenants integer[];
    ids     uuid[];
BEGIN
    SELECT array_agg(d.tenant_id), array_agg(d.booking_id) INTO tenants, ids
    FROM (SELECT b.tenant_id, b.booking_id FROM boxoffice.bookings b
          WHERE b.status IN ('reserved', 'payment_pending') AND b.expires_at <= clock_timestamp()
          ORDER BY b.expires_at LIMIT max OFFSET skip FOR NO KEY UPDATE SKIP LOCKED) d;
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM boxoffice.end_bookings(tenants, ids, 'expired', NULL);
    RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION boxoffice.expire_due IS
'Internal: bookings of all tenants that are due expire, up to max of them, the first due first; those that somebody has locked are left to him, and so are the first `skip`. Returns how many.';
