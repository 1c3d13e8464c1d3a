CREATE FUNCTION boxoffice.settle_cancelled(max integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms' -- a stream can be locked by whoever appends to it; others' bookings do not wait for him
SET enable_seqscan = off -- some rows by an index, whatever the statistics say
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    s      record;
    n      integer;
    failed boolean := false;
BEGIN
    FOR s IN SELECT t.tenant_id, t.event_id, t.show_id FROM boxoffice.shows t WHERE t.cancelled AND NOT t.settled ORDER BY t.updated_at LOOP
        n := boxoffice.settle_show(s.tenant_id, s.event_id, s.show_id, max);
        IF n > 0 THEN
            RETURN n;
        END IF;
        failed := failed OR n < 0;
    END LOOP;
    RETURN CASE WHEN failed THEN -1 ELSE 0 END;
END
$$;
COMMENT ON FUNCTION boxoffice.settle_cancelled IS
'Internal: bookings of cancelled shows are cancelled, up to max of them, of the first show of which some can be. Returns 0 when there is nothing to do, or others have to end first; -1 when some cannot be cancelled now.';
