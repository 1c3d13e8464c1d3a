CREATE FUNCTION usher.gateway_dead_letters(tenant_name text, subscription_name text DEFAULT NULL, sink_name text DEFAULT NULL,
                                           after bigint DEFAULT 0, max integer DEFAULT 100)
RETURNS TABLE (id bigint, item jsonb)
LANGUAGE sql VOLATILE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.dead_letter_id, p.item
    FROM (SELECT d.dead_letter_id, d.item, sum(pg_column_size(d.item)) OVER (ORDER BY d.dead_letter_id) - pg_column_size(d.item) AS before
          FROM (SELECT d.dead_letter_id,
                       jsonb_build_object('id', d.dead_letter_id, 'subscription', s.name, 'sink', i.name, 'position', d.position, 'type', d.type,
                                          'topic', d.topic, 'partition', d.partition, 'key', d.key, 'error_code', d.error_code, 'error', d.error,
                                          'attempts', d.attempts, 'first_failure', d.first_failure, 'last_failure', d.last_failure,
                                          'replaying', d.replay_id IS NOT NULL, 'event', d.envelope) AS item
                FROM usher.dead_letters d
                LEFT JOIN usher.subscriptions s ON s.subscription_id = d.subscription_id
                LEFT JOIN usher.sinks i ON i.sink_id = d.sink_id
                WHERE d.tenant_id = usher.gateway_tenant(tenant_name) AND d.dead_letter_id > after
                  AND (subscription_name IS NULL OR s.name = subscription_name) AND (sink_name IS NULL OR i.name = sink_name)
                ORDER BY d.dead_letter_id LIMIT usher.gateway_page(max)) d) p
    WHERE p.before < 1048576
    ORDER BY 1
$$;
COMMENT ON FUNCTION usher.gateway_dead_letters IS
'A page of the dead letters of a tenant''s events, of its subscriptions and of the sinks, or of one of these, by id behind after: at most max (1 to 10,000), and not more than the first that brings them to 1 MB. Errors: US010 unknown_tenant, US018. For usher_gateway.';
