CREATE FUNCTION boxoffice.do_create_show(tenant integer, event bigint, time_zone text, starts_local timestamp)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM boxoffice.events e WHERE e.tenant_id = tenant AND e.event_id = event) THEN
        RAISE EXCEPTION 'there is no event %', coalesce(event::text, 'null') USING ERRCODE = 'US034';
    END IF;
    PERFORM boxoffice.check_show_time(starts_local, time_zone);
    INSERT INTO boxoffice.shows (tenant_id, event_id, time_zone, starts_local) VALUES (tenant, event, time_zone, starts_local) RETURNING show_id INTO id;
    PERFORM boxoffice.emit(tenant, 'show-' || id, 'show.created', jsonb_build_object('show', id, 'event', event, 'time_zone', time_zone, 'starts_local', starts_local));
    RETURN id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_create_show IS 'Internal: boxoffice.create_show, for a tenant.';
