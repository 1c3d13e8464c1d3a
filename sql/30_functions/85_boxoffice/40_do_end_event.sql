CREATE FUNCTION boxoffice.do_end_event(tenant integer, event bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events := boxoffice.locked_event(tenant, event);
BEGIN
    IF e.status <> 'published' THEN
        RAISE EXCEPTION 'event % is %', event, e.status USING ERRCODE = 'US037';
    END IF;
    UPDATE boxoffice.events t SET status = 'ended', updated_at = clock_timestamp() WHERE t.tenant_id = tenant AND t.event_id = event;
    PERFORM boxoffice.emit(tenant, 'event-' || event, 'event.ended', jsonb_build_object('event', event));
END
$$;
COMMENT ON FUNCTION boxoffice.do_end_event IS 'Internal: boxoffice.end_event, for a tenant.';
