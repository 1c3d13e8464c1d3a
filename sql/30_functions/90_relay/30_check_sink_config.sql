CREATE FUNCTION usher.check_sink_config(kind text, config jsonb)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record;
BEGIN
    IF jsonb_typeof(config) <> 'object' THEN
        RAISE EXCEPTION 'the config of a sink is not an object' USING ERRCODE = 'US018';
    END IF;
    FOR given IN
        SELECT c.key, c.value, o.* FROM jsonb_each(config) c LEFT JOIN usher.sink_option_list(check_sink_config.kind) o ON o.name = c.key
    LOOP
        IF given.name IS NULL THEN
            RAISE EXCEPTION 'a sink of kind % has no option "%"', check_sink_config.kind, given.key
                USING ERRCODE = 'US018',
                      HINT = 'It has: ' || (SELECT string_agg(o.name, ', ' ORDER BY o.name) FROM usher.sink_option_list(check_sink_config.kind) o) || '.';
        END IF;
        PERFORM usher.check_sink_option(given.name, given.type, given.lowest, given.highest, given.choices, given.value);
    END LOOP;
END
$$;
COMMENT ON FUNCTION usher.check_sink_config IS
'Internal: raise US018 unless a sink of this kind may have this config, 42501 if it names files and the current role may not have the server read them.';
