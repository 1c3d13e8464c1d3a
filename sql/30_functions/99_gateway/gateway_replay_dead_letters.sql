CREATE FUNCTION usher.gateway_replay_dead_letters(tenant_name text, user_id text, subscription_name text, sink_name text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    IF num_nonnulls(subscription_name, sink_name) <> 1 THEN
        RAISE EXCEPTION 'dead letters are of a subscription or of a sink' USING ERRCODE = 'US018';
    ELSIF jsonb_typeof(filter) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'a filter of dead letters is not an object' USING ERRCODE = 'US018';
    ELSIF subscription_name IS NOT NULL THEN
        RETURN usher.replay_subscription_dead_letters(subscription_name, filter);
    END IF;
    -- a sink has those of every tenant
    RETURN usher.replay_sink_dead_letters(sink_name, filter || jsonb_build_object('tenant', tenant_name));
END
$$;
COMMENT ON FUNCTION usher.gateway_replay_dead_letters IS
'usher.replay_dead_letters for a tenant: of one of its subscriptions, or those of its events that a sink has (one of the two names is null). Returns the number of the replay. Errors: US003 unknown_subscription, US010 unknown_tenant, US018, US022 unknown_sink. For usher_gateway.';
