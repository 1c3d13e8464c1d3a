CREATE FUNCTION usher.subscription_named(name text)
RETURNS usher.subscriptions
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions;
BEGIN
    SELECT s.* INTO found FROM usher.subscriptions s
    WHERE s.tenant_id = usher.current_tenant() AND s.name = subscription_named.name;
    IF found.subscription_id IS NULL THEN
        RAISE EXCEPTION 'subscription "%" does not exist', subscription_named.name
            USING ERRCODE = 'US003', HINT = 'Create it with usher.subscribe.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION usher.subscription_named IS 'Internal: the row of a subscription of the session''s tenant. Error: US003 unknown_subscription.';
