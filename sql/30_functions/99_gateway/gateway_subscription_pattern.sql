CREATE FUNCTION usher.gateway_subscription_pattern(tenant_name text, subscription text)
RETURNS text
LANGUAGE plpgsql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found text;
BEGIN
    SELECT s.pattern INTO found FROM usher.subscriptions s
    WHERE s.tenant_id = usher.gateway_tenant(tenant_name) AND s.name = gateway_subscription_pattern.subscription;
    IF found IS NULL THEN
        RAISE EXCEPTION 'there is no subscription "%"', gateway_subscription_pattern.subscription USING ERRCODE = 'US003';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION usher.gateway_subscription_pattern IS
'Which types of events a subscription of a tenant is about: what a poll that waits must be woken by. Errors: US003 unknown_subscription, US010 unknown_tenant. For usher_gateway.';
