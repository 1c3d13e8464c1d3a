CREATE FUNCTION usher.box_shown_show(tenant integer, show bigint, drafts boolean)
RETURNS boxoffice.shows
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s boxoffice.shows;
BEGIN
    SELECT t.* INTO s FROM boxoffice.shows t JOIN boxoffice.events e ON e.tenant_id = t.tenant_id AND e.event_id = t.event_id
    WHERE t.tenant_id = tenant AND t.show_id = show AND (drafts OR e.status <> 'draft');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no show %', coalesce(show::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN s;
END
$$;
COMMENT ON FUNCTION usher.box_shown_show IS 'Internal: a show; drafts: also of an event that is not published yet. Error: US034 unknown_show.';
