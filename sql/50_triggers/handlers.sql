CREATE TRIGGER check_handler_owner
    BEFORE INSERT OR UPDATE OF tenant_id, handler, owner ON usher.handlers
    FOR EACH ROW EXECUTE FUNCTION usher.check_projection_owner();

CREATE FUNCTION usher.delete_handler()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.handlers h WHERE h.subscription_id = OLD.subscription_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.delete_handler IS 'Internal: a subscription takes its handler along.';
CREATE TRIGGER delete_handler AFTER DELETE ON usher.subscriptions
    FOR EACH ROW EXECUTE FUNCTION usher.delete_handler();

CREATE FUNCTION usher.hold_restored_handler()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.restored := true;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION usher.hold_restored_handler IS
'Internal: a handler whose row is older than this transaction comes from a dump. The log may not be complete yet: it runs when somebody resumes it with usher.resume_subscription.';
CREATE TRIGGER hold_restored_handler BEFORE INSERT ON usher.handlers
    FOR EACH ROW WHEN (NEW.created_at <> now()) EXECUTE FUNCTION usher.hold_restored_handler();
