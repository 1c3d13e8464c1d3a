CREATE FUNCTION boxoffice.do_move_show(tenant integer, show bigint, starts_local timestamp, time_zone text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s boxoffice.shows := boxoffice.locked_show(tenant, show);
BEGIN
    IF s.cancelled THEN
        RAISE EXCEPTION 'show % is cancelled', show USING ERRCODE = 'US037';
    END IF;
    PERFORM boxoffice.check_show_time(starts_local, coalesce(time_zone, s.time_zone));
    UPDATE boxoffice.shows t SET starts_local = do_move_show.starts_local, time_zone = coalesce(do_move_show.time_zone, t.time_zone), updated_at = clock_timestamp()
    WHERE t.tenant_id = tenant AND t.show_id = show;
    PERFORM boxoffice.emit(tenant, 'show-' || show, 'show.rescheduled', jsonb_build_object('show', show, 'event', s.event_id, 'starts_local', starts_local,
        'time_zone', coalesce(time_zone, s.time_zone), 'before', jsonb_build_object('starts_local', s.starts_local, 'time_zone', s.time_zone)));
END
$$;
COMMENT ON FUNCTION boxoffice.do_move_show IS 'Internal: boxoffice.move_show, for a tenant.';
