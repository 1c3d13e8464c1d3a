CREATE FUNCTION usher.resume_subscription(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(resume_subscription.name);
BEGIN
    UPDATE usher.subscriptions s SET paused = false WHERE s.subscription_id = found.subscription_id;
    UPDATE usher.handlers h SET restored = false WHERE h.subscription_id = found.subscription_id;
    PERFORM usher.wake_subscription(found.subscription_id);
END
$$;
COMMENT ON FUNCTION usher.resume_subscription IS
'Deliver again after usher.pause_subscription; a handler that came with a dump begins to run. Error: US003 unknown_subscription.';
