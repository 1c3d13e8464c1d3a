CREATE FUNCTION boxoffice.check_time_zone(name text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = check_time_zone.name) THEN
        RAISE EXCEPTION 'there is no time zone "%"', coalesce(name, 'null') USING ERRCODE = 'US018', HINT = 'Give an IANA name, such as Europe/Berlin.';
    END IF;
END
$$;
COMMENT ON FUNCTION boxoffice.check_time_zone IS 'Internal: a name of the IANA time zone database. Error: US018 invalid_argument.';
