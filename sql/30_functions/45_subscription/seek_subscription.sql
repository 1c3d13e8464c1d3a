CREATE FUNCTION usher.seek_subscription(name text, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(seek_subscription.name);
BEGIN
    PERFORM usher.subscription_start(found.subscription_id, usher.start_position(seek_subscription."position"));
    DELETE FROM usher.parked_keys p WHERE p.subscription_id = found.subscription_id;
END
$$;
COMMENT ON FUNCTION usher.seek_subscription IS
'Go on behind a position (null: now, 0: the oldest kept), backwards to deliver again or forwards to leave out. Leases that are out are lost, parked keys forgotten; dead letters stay. Waits for acknowledgements that have not committed. Errors: US003 unknown_subscription, US004 position_gone, US018 beyond the stable position.';
