CREATE FUNCTION usher.park_dead_letters(subscription_id integer, filter jsonb)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target CONSTANT integer := park_dead_letters.subscription_id;
    new_id bigint;
    letters CONSTANT bigint[] := ARRAY(SELECT usher.dead_letters_like(NULL, target, park_dead_letters.filter));
    gone   bigint;
BEGIN
    INSERT INTO usher.replays AS r (subscription_id, kind) VALUES (target, 'dead_letters') RETURNING r.replay_id INTO new_id;
    UPDATE usher.dead_letters d SET replay_id = new_id
    WHERE d.dead_letter_id = ANY (letters);
    UPDATE usher.dead_letters d SET replay_id = NULL
    WHERE d.replay_id = new_id AND NOT EXISTS (SELECT FROM usher.log l WHERE l.position = d.position);
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE usher.replays r SET skipped = gone WHERE r.replay_id = new_id;
    -- A key that is held for one is let go; the others are tried apart from their key, which has gone on.
    UPDATE usher.parked_keys p SET held = false, attempts = 0, next_at = now()
    FROM usher.dead_letters d
    WHERE d.replay_id = new_id AND p.subscription_id = target AND p.failed = d.position AND p.held;
    INSERT INTO usher.parked_keys (tenant_id, subscription_id, partition, key, position, failed, attempts, next_at)
    SELECT s.tenant_id, target, l.slot::bigint * s.partitions / 65536, 'd:' || d.position, d.position, d.position, 0, now()
    FROM usher.dead_letters d
    JOIN usher.subscriptions s ON s.subscription_id = target
    CROSS JOIN LATERAL (SELECT l.slot FROM usher.log l WHERE l.position = d.position) l
    WHERE d.replay_id = new_id
      AND NOT EXISTS (SELECT FROM usher.parked_keys k WHERE k.subscription_id = target AND k.failed = d.position)
    ON CONFLICT DO NOTHING;
    PERFORM usher.count_replayed(new_id, 0);
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION usher.park_dead_letters IS
'Internal, for usher.replay_subscription_dead_letters: park the dead letters that a filter describes, to be delivered at once; returns the number of the replay.';
