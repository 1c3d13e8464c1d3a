CREATE FUNCTION boxoffice.do_cancel_show(tenant integer, show bigint, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s boxoffice.shows := boxoffice.locked_show(tenant, show);
BEGIN
    IF s.cancelled THEN
        RETURN;
    END IF;
    UPDATE boxoffice.shows t SET cancelled = true, settled = false, updated_at = clock_timestamp() WHERE t.tenant_id = tenant AND t.show_id = show;
    PERFORM boxoffice.emit(tenant, 'show-' || show, 'show.cancelled', jsonb_build_object('show', show, 'event', s.event_id, 'reason', reason));
    PERFORM boxoffice.expires(clock_timestamp());
END
$$;
COMMENT ON FUNCTION boxoffice.do_cancel_show IS 'Internal: boxoffice.cancel_show, for a tenant.';
