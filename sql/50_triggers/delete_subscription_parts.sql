CREATE FUNCTION usher.delete_subscription_parts()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.parked_keys p WHERE p.subscription_id = OLD.subscription_id;
    DELETE FROM usher.dead_letters p WHERE p.subscription_id = OLD.subscription_id;
    DELETE FROM usher.replays p WHERE p.subscription_id = OLD.subscription_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usher.delete_subscription_parts IS
'Internal: what belongs to a deleted subscription goes with it. (Rows of its cursors are left to the next rotation.)';

CREATE TRIGGER delete_subscription_parts AFTER DELETE ON usher.subscriptions
    FOR EACH ROW EXECUTE FUNCTION usher.delete_subscription_parts();
