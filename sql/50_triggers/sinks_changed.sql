CREATE FUNCTION usher.sinks_changed()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_sinks_changed';
COMMENT ON FUNCTION usher.sinks_changed IS 'Internal: once the transaction has committed, the relay workers read their configuration again.';

CREATE TRIGGER sinks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.sinks
    FOR EACH STATEMENT EXECUTE FUNCTION usher.sinks_changed();
CREATE TRIGGER sinks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.sink_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION usher.sinks_changed();
CREATE TRIGGER sinks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.sink_lanes
    FOR EACH STATEMENT EXECUTE FUNCTION usher.sinks_changed();
CREATE TRIGGER sinks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.routes
    FOR EACH STATEMENT EXECUTE FUNCTION usher.sinks_changed();
CREATE TRIGGER sinks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.replays
    FOR EACH STATEMENT EXECUTE FUNCTION usher.sinks_changed();

-- Also where replication applies the rows.
ALTER TABLE usher.sinks ENABLE ALWAYS TRIGGER sinks_changed;
ALTER TABLE usher.sink_secrets ENABLE ALWAYS TRIGGER sinks_changed;
ALTER TABLE usher.sink_lanes ENABLE ALWAYS TRIGGER sinks_changed;
ALTER TABLE usher.routes ENABLE ALWAYS TRIGGER sinks_changed;
ALTER TABLE usher.replays ENABLE ALWAYS TRIGGER sinks_changed;
