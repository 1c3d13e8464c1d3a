CREATE FUNCTION boxoffice.locked_show(tenant integer, show bigint)
RETURNS boxoffice.shows
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s boxoffice.shows;
BEGIN
    SELECT t.* INTO s FROM boxoffice.shows t WHERE t.tenant_id = tenant AND t.show_id = show FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no show %', coalesce(show::text, 'null') USING ERRCODE = 'US034';
    END IF;
    RETURN s;
END
$$;
COMMENT ON FUNCTION boxoffice.locked_show IS 'Internal: a show, locked. Error: US034 unknown_show.';
