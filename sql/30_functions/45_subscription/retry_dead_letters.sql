CREATE FUNCTION usher.retry_dead_letters(subscription text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(retry_dead_letters.subscription);
    again bigint;
BEGIN
    IF jsonb_typeof(retry_dead_letters.filter) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'a filter of dead letters is not an object' USING ERRCODE = 'US018';
    END IF;
    -- A key that is held for one is let go; the others are tried apart from their key, which has gone on.
    WITH wanted AS (
        SELECT d.position, l.slot FROM usher.dead_letters d
        JOIN LATERAL (SELECT l.slot FROM usher.log l WHERE l.position = d.position) l ON true
        WHERE d.subscription_id = found.subscription_id
          AND jsonb_build_object('type', d.type, 'key', d.key, 'error', d.error, 'position', d.position) @> retry_dead_letters.filter
    ), released AS (
        UPDATE usher.parked_keys p SET held = false, attempts = 0, next_at = now()
        FROM wanted w
        WHERE p.subscription_id = found.subscription_id AND p.position = w.position AND p.held
        RETURNING w.position
    ), parked AS (
        INSERT INTO usher.parked_keys AS p (tenant_id, subscription_id, partition, key, position, attempts, next_at)
        SELECT found.tenant_id, found.subscription_id, w.slot::bigint * found.partitions / 65536, 'd:' || w.position,
               w.position, 0, now()
        FROM wanted w
        WHERE NOT EXISTS (SELECT FROM usher.parked_keys k
                          WHERE k.subscription_id = found.subscription_id AND k.position = w.position AND k.held)
        ON CONFLICT DO NOTHING
        RETURNING p.position
    )
    SELECT (SELECT count(*) FROM released) + (SELECT count(*) FROM parked) INTO again;
    RETURN again;
END
$$;
COMMENT ON FUNCTION usher.retry_dead_letters IS
'Deliver dead letters of a subscription again, those that contain the filter, an object of type, key, error, position: each apart from its key, or where its key is held for it, in order with the key. One that is acknowledged is a dead letter no more; one that fails max_attempts times again stays. Returns how many will be delivered. Events that retention has removed are left out. Errors: US003 unknown_subscription, US018 for a filter that is none.';
