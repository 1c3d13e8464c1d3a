CREATE FUNCTION usher.unsubscribe(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(unsubscribe.name);
BEGIN
    PERFORM usher.subscription_start(found.subscription_id, 0);
    DELETE FROM usher.parked_keys p WHERE p.subscription_id = found.subscription_id;
    DELETE FROM usher.dead_letters d WHERE d.subscription_id = found.subscription_id;
    DELETE FROM usher.subscriptions s WHERE s.subscription_id = found.subscription_id;
END
$$;
COMMENT ON FUNCTION usher.unsubscribe IS
'Drop a subscription with its cursors, parked keys and dead letters; leases that are out are lost. Error: US003 unknown_subscription.';
