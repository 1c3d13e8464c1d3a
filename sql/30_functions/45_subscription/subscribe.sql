CREATE FUNCTION usher.subscribe(name text, pattern text DEFAULT '*', from_position bigint DEFAULT NULL,
                                partitions integer DEFAULT 8, options jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known  text[] := ARRAY['category', 'stream', 'max_attempts', 'lease', 'backoff', 'backoff_max', 'max_parked_keys', 'on_dead'];
    wrong  text;
    id     integer;
BEGIN
    PERFORM usher.check_name(subscribe.name, 'subscription name'), usher.check_name(subscribe.pattern, 'pattern');
    IF subscribe.partitions IS NULL OR subscribe.partitions NOT BETWEEN 1 AND 1024 THEN
        RAISE EXCEPTION 'partitions must be between 1 and 1024' USING ERRCODE = 'US018';
    END IF;
    IF jsonb_typeof(subscribe.options) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'options must be a JSON object' USING ERRCODE = 'US018';
    END IF;
    SELECT o INTO wrong FROM jsonb_object_keys(subscribe.options) o WHERE o <> ALL (known) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'unknown option "%" of a subscription', wrong
            USING ERRCODE = 'US018', HINT = format('Options are %s.', array_to_string(known, ', '));
    END IF;
    FOR wrong IN SELECT o.key FROM jsonb_each(subscribe.options) o
                 WHERE jsonb_typeof(o.value) NOT IN ('null', CASE WHEN o.key IN ('max_attempts', 'max_parked_keys') THEN 'number' ELSE 'string' END) LOOP
        RAISE EXCEPTION 'option "%" of a subscription is of the wrong kind', wrong
            USING ERRCODE = 'US018', HINT = 'Counts are numbers; names and times are strings, as "30 s".';
    END LOOP;
    PERFORM usher.check_name(o.value, o.key) FROM jsonb_each_text(subscribe.options) o
    WHERE o.key IN ('category', 'stream') AND o.value IS NOT NULL;
    IF coalesce(subscribe.options ->> 'on_dead', 'continue') NOT IN ('continue', 'hold') THEN
        RAISE EXCEPTION 'on_dead must be "continue" or "hold"' USING ERRCODE = 'US018';
    END IF;
    BEGIN
        INSERT INTO usher.subscriptions AS s (tenant_id, name, pattern, category, stream, partitions, max_attempts, lease_ms,
                                              backoff_ms, backoff_max_ms, max_parked_keys, hold_dead)
        VALUES (usher.current_tenant(), subscribe.name, subscribe.pattern,
                subscribe.options ->> 'category', subscribe.options ->> 'stream', subscribe.partitions,
                coalesce((subscribe.options ->> 'max_attempts')::integer, 3),
                coalesce(1000 * extract(epoch FROM (subscribe.options ->> 'lease')::interval), 30000),
                coalesce(1000 * extract(epoch FROM (subscribe.options ->> 'backoff')::interval), 1000),
                coalesce(1000 * extract(epoch FROM (subscribe.options ->> 'backoff_max')::interval), 300000),
                coalesce((subscribe.options ->> 'max_parked_keys')::integer, 1000),
                coalesce(subscribe.options ->> 'on_dead', 'continue') = 'hold')
        RETURNING s.subscription_id INTO id;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'subscription "%" exists already', subscribe.name
                USING ERRCODE = '42710', HINT = 'Drop it with usher.unsubscribe, or move it with usher.seek_subscription.';
        WHEN check_violation OR invalid_text_representation OR numeric_value_out_of_range OR invalid_datetime_format
             OR datetime_field_overflow THEN
            RAISE EXCEPTION 'an option of subscription "%" is out of range', subscribe.name
                USING ERRCODE = 'US018', DETAIL = SQLERRM,
                      HINT = 'Times are intervals (lease 100 ms to 1 day), counts are positive integers.';
    END;
    PERFORM usher.subscription_start(id, usher.start_position(subscribe.from_position));
END
$$;
COMMENT ON FUNCTION usher.subscribe IS
'Create a subscription (consumer group) of the session''s tenant to the events whose type matches the pattern, from now on (from_position null), from the oldest kept (0), or behind a position. partitions: how many pollers can work at a time (1 to 1024); the events of a key are always in the same one. options: category, stream (a glob), max_attempts (3), lease (30 s: time of a named member''s lease), backoff (1 s, doubled with full jitter up to backoff_max, 5 min), max_parked_keys (1000 in a partition, then it delivers only those), on_dead ("continue": a key goes on behind its dead letter, or "hold": it waits for a decision). Errors: 42710 when it exists, US004 position_gone, US006, US018.';
