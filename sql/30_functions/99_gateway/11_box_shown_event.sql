CREATE FUNCTION usher.box_shown_event(tenant integer, event bigint, drafts boolean)
RETURNS boxoffice.events
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e boxoffice.events;
BEGIN
    SELECT t.* INTO e FROM boxoffice.events t
    WHERE t.tenant_id = tenant AND t.event_id = event AND (drafts OR t.status <> 'draft');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no event %', coalesce(event::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN e;
END
$$;
COMMENT ON FUNCTION usher.box_shown_event IS 'Internal: an event of the box office; drafts: also one that is not published yet. Error: US034 unknown_show.';
