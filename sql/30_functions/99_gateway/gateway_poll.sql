CREATE FUNCTION usher.gateway_poll(tenant_name text, user_id text, subscription text, max integer, member text, ack bigint DEFAULT NULL)
RETURNS SETOF usher.delivery
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    RETURN QUERY SELECT * FROM usher.poll(gateway_poll.subscription, gateway_poll.max, '0',
                                          usher.gateway_member(gateway_poll.user_id, gateway_poll.member), gateway_poll.ack);
END
$$;
COMMENT ON FUNCTION usher.gateway_poll IS
'usher.poll in a tenant, without waiting, for a member of a user: a member''s name is required, so that the lease ends by its time and not with the gateway''s session; two users'' members of one name are two. Errors: US003 unknown_subscription (also for one of another tenant), US004, US006, US010 unknown_tenant, US018, US026 lease_lost (of ack). For usher_gateway.';
