CREATE FUNCTION usher.unsubscribe(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(unsubscribe.name);
BEGIN
    -- Whoever found it a moment before it was dropped finds nothing in it.
    PERFORM usher.subscription_start(found.subscription_id, 9223372036854775806);
    DELETE FROM usher.subscriptions s WHERE s.subscription_id = found.subscription_id;
END
$$;
COMMENT ON FUNCTION usher.unsubscribe IS
'Drop a subscription with its cursors, parked keys and dead letters; leases that are out are lost, who waits for it gets US003. Waits for acknowledgements that have not committed. Error: US003 unknown_subscription.';
