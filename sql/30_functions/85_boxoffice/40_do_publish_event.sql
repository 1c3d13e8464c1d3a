CREATE FUNCTION boxoffice.do_publish_event(tenant integer, event bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events := boxoffice.locked_event(tenant, event);
BEGIN
    IF e.status <> 'draft' THEN
        RAISE EXCEPTION 'event % is %', event, e.status USING ERRCODE = 'US037';
    END IF;
    UPDATE boxoffice.events t SET status = 'published', updated_at = clock_timestamp() WHERE t.tenant_id = tenant AND t.event_id = event;
    PERFORM boxoffice.emit(tenant, 'event-' || event, 'event.published', jsonb_build_object('event', event));
END
$$;
COMMENT ON FUNCTION boxoffice.do_publish_event IS 'Internal: boxoffice.publish_event, for a tenant.';
