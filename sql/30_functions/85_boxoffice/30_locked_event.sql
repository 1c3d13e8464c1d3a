CREATE FUNCTION boxoffice.locked_event(tenant integer, event bigint)
RETURNS boxoffice.events
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events;
BEGIN
    SELECT t.* INTO e FROM boxoffice.events t WHERE t.tenant_id = tenant AND t.event_id = event FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no event %', coalesce(event::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN e;
END
$$;
COMMENT ON FUNCTION boxoffice.locked_event IS 'Internal: an event, locked. Error: US034 unknown_show.';
