CREATE FUNCTION usher.bury(subscription_id integer, "position" bigint, error text, attempts integer, partition integer, key text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    replay bigint;
    first  timestamptz;
BEGIN
    SELECT d.replay_id INTO replay FROM usher.dead_letters d
    WHERE d.subscription_id = bury.subscription_id AND d.position = bury."position";
    SELECT p.first_failure INTO first FROM usher.parked_keys p
    WHERE p.subscription_id = bury.subscription_id AND p.partition = bury.partition AND p.key = bury.key AND p.failed = bury."position";
    INSERT INTO usher.dead_letters AS d (tenant_id, subscription_id, position, type, topic, partition, key, envelope,
                                         error_code, error, attempts, first_failure)
    SELECT l.tenant_id, bury.subscription_id, l.position, l.type, l.topic, bury.partition, coalesce(l.stream, l.key),
           jsonb_strip_nulls(jsonb_build_object(
               'specversion', '1.0', 'id', l.id, 'source', coalesce(l.metadata ->> 'source', '/usher/' || usher.tenant_name(l.tenant_id)),
               'type', l.type, 'subject', l.stream, 'time', to_char(l.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'datacontenttype', 'application/json', 'position', l.position::text, 'streamversion', l.version::text,
               'tenant', usher.tenant_name(l.tenant_id), 'correlationid', l.metadata ->> 'correlation_id',
               'causationid', l.metadata ->> 'causation_id', 'partitionkey', coalesce(l.stream, l.key),
               'traceparent', l.metadata ->> 'traceparent')) || jsonb_build_object('data', l.data),
           'failed', bury.error, bury.attempts, coalesce(first, now())
    FROM usher.log l WHERE l.position = bury."position"
    ON CONFLICT ON CONSTRAINT dead_letters_subscription_id_position_key DO UPDATE
    SET error = EXCLUDED.error, attempts = d.attempts + EXCLUDED.attempts, last_failure = clock_timestamp(), replay_id = NULL;
    IF replay IS NOT NULL THEN
        PERFORM usher.count_replayed(replay, 0, 1);
    END IF;
END
$$;
COMMENT ON FUNCTION usher.bury IS
'Internal: an event that a subscription failed to process so many times becomes a dead letter, or that of it goes on; envelope: the event as a CloudEvent.';
