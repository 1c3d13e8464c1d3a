CREATE FUNCTION boxoffice.next_due()
RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off -- some rows by an index, whatever the statistics say
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT least((SELECT min(b.expires_at) FROM boxoffice.bookings b WHERE b.status IN ('reserved', 'payment_pending')),
                 (SELECT '-infinity'::timestamptz FROM boxoffice.shows s WHERE s.cancelled AND NOT s.settled LIMIT 1))
$$;
COMMENT ON FUNCTION boxoffice.next_due IS
'Internal: when the worker of the box office has to do something next; null: never, -infinity: shows were cancelled.';
