CREATE FUNCTION usher.subscriptions_changed()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_subscriptions_changed_trigger';
COMMENT ON FUNCTION usher.subscriptions_changed IS
'Internal: once the transaction has committed, pollers that wait and the workers of handlers look anew.';

CREATE TRIGGER subscriptions_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION usher.subscriptions_changed();
CREATE TRIGGER subscriptions_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usher.handlers
    FOR EACH STATEMENT EXECUTE FUNCTION usher.subscriptions_changed();
ALTER TABLE usher.subscriptions ENABLE ALWAYS TRIGGER subscriptions_changed;
ALTER TABLE usher.handlers ENABLE ALWAYS TRIGGER subscriptions_changed;
