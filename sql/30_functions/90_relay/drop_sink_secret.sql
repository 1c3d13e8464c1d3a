CREATE FUNCTION usher.drop_sink_secret(sink text, name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner_id CONSTANT integer := usher.sink_named(drop_sink_secret.sink);
BEGIN
    DELETE FROM usher.sink_secrets s WHERE s.sink_id = owner_id AND s.name = drop_sink_secret.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sink "%" has no secret "%"', drop_sink_secret.sink, drop_sink_secret.name USING ERRCODE = 'US018';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.drop_sink_secret IS
'Remove a secret of a sink; options that still name it make the sink wait for it. Errors: US022 unknown_sink, US018 for a secret that does not exist.';
