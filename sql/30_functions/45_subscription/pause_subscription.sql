CREATE FUNCTION usher.pause_subscription(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(pause_subscription.name);
BEGIN
    UPDATE usher.subscriptions s SET paused = true WHERE s.subscription_id = found.subscription_id;
END
$$;
COMMENT ON FUNCTION usher.pause_subscription IS
'Deliver nothing until usher.resume_subscription; what is out can still be acknowledged. Error: US003 unknown_subscription.';
