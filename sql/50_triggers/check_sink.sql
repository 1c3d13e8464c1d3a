CREATE FUNCTION usher.check_sink()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.name IS NULL OR NEW.name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' THEN
        RAISE EXCEPTION 'a sink cannot have the name "%"', NEW.name
            USING ERRCODE = 'US006', HINT = 'A name is 1 to 63 of a-z, 0-9, _ and -, and does not begin with _ or -.';
    END IF;
    IF NEW.kind IS NULL OR NEW.kind NOT IN ('kafka', 'redis', 'nats', 'memory') THEN
        RAISE EXCEPTION 'there is no kind of sink "%"', NEW.kind
            USING ERRCODE = 'US018', HINT = 'There are kafka, redis, nats and memory.';
    END IF;
    IF NEW.config IS NULL THEN
        RAISE EXCEPTION 'the config of a sink is not an object' USING ERRCODE = 'US018';
    END IF;
    PERFORM usher.check_sink_config(NEW.kind, NEW.config);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION usher.check_sink IS
'Internal: a sink''s name, kind and config are checked with the rights of who changes them, also when the table is edited by hand. Errors: US006, US018, 42501.';

CREATE TRIGGER check_sink BEFORE INSERT OR UPDATE OF name, kind, config ON usher.sinks
    FOR EACH ROW EXECUTE FUNCTION usher.check_sink();
