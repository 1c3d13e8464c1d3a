CREATE FUNCTION usher.set_sink_secret(sink text, name text, value text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner_id CONSTANT integer := usher.sink_named(set_sink_secret.sink);
BEGIN
    IF set_sink_secret.name IS NULL OR set_sink_secret.name = '' OR set_sink_secret.value IS NULL THEN
        RAISE EXCEPTION 'name and value of a secret cannot be null or empty' USING ERRCODE = 'US018';
    END IF;
    -- Not ON CONFLICT: that would need the privilege to read values. The sink is locked.
    UPDATE usher.sink_secrets s SET value = set_sink_secret.value WHERE s.sink_id = owner_id AND s.name = set_sink_secret.name;
    IF NOT FOUND THEN
        INSERT INTO usher.sink_secrets (sink_id, name, value) VALUES (owner_id, set_sink_secret.name, set_sink_secret.value);
    END IF;
END
$$;
COMMENT ON FUNCTION usher.set_sink_secret IS
'Store a value that options of a sink name as {"secret": name}; a value stored before is replaced. Only the relay workers read it; dumps of the database contain it. The statement may be in the server''s log: see log_statement. Errors: US022 unknown_sink, US018 for a null.';
