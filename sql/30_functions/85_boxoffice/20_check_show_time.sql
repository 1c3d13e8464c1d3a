CREATE FUNCTION boxoffice.check_show_time(starts_local timestamp, name text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = check_show_time.name) THEN
        RAISE EXCEPTION 'there is no time zone "%"', coalesce(name, 'null') USING ERRCODE = 'US018', HINT = 'Give an IANA name, such as Europe/Berlin.';
    END IF;
    IF starts_local IS NULL OR starts_local NOT BETWEEN timestamp '1900-01-01' AND timestamp '9999-12-31' THEN
        RAISE EXCEPTION 'a show cannot begin at %', coalesce(starts_local::text, 'null') USING ERRCODE = 'US018', HINT = 'Give a time of the years 1900 to 9999.';
    END IF;
END
$$;
COMMENT ON FUNCTION boxoffice.check_show_time IS 'Internal: when a show begins: a time that has an instant, and a name of the IANA time zone database. Error: US018 invalid_argument.';
