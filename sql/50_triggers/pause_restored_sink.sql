CREATE FUNCTION usher.pause_restored_sink()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.paused := true;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION usher.pause_restored_sink IS
'Internal: a sink whose row is older than this transaction comes from a dump. The log may not be complete yet, and it is a copy: it relays to the brokers of the original only when somebody says so.';

CREATE TRIGGER pause_restored_sink BEFORE INSERT ON usher.sinks
    FOR EACH ROW WHEN (NEW.created_at <> now()) EXECUTE FUNCTION usher.pause_restored_sink();
