CREATE FUNCTION boxoffice.do_cancel_event(tenant integer, event bigint, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events := boxoffice.locked_event(tenant, event);
BEGIN
    IF e.status = 'cancelled' THEN
        RETURN;
    END IF;
    IF e.status = 'ended' THEN
        RAISE EXCEPTION 'event % is %', event, e.status USING ERRCODE = 'US037';
    END IF;
    UPDATE boxoffice.events t SET status = 'cancelled', updated_at = clock_timestamp() WHERE t.tenant_id = tenant AND t.event_id = event;
    UPDATE boxoffice.shows t SET cancelled = true, settled = false, updated_at = clock_timestamp() WHERE t.tenant_id = tenant AND t.event_id = event AND NOT t.cancelled;
    PERFORM boxoffice.emit(tenant, 'event-' || event, 'event.cancelled', jsonb_build_object('event', event, 'reason', reason));
    PERFORM boxoffice.expires(clock_timestamp());
END
$$;
COMMENT ON FUNCTION boxoffice.do_cancel_event IS 'Internal: boxoffice.cancel_event, for a tenant.';
