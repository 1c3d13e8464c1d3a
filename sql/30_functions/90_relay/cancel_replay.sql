CREATE FUNCTION usher.cancel_replay(replay_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_state text;
BEGIN
    SELECT r.state INTO found_state FROM usher.replays r WHERE r.replay_id = cancel_replay.replay_id FOR NO KEY UPDATE;
    IF found_state IS DISTINCT FROM 'running' THEN
        RAISE EXCEPTION 'replay % %', cancel_replay.replay_id, coalesce('is ' || found_state || ' already', 'does not exist')
            USING ERRCODE = 'US018';
    END IF;
    UPDATE usher.replays r SET state = 'cancelled', ended_at = now() WHERE r.replay_id = cancel_replay.replay_id;
    DELETE FROM usher.parked_keys p USING usher.dead_letters d
    WHERE d.replay_id = cancel_replay.replay_id AND p.subscription_id = d.subscription_id AND p.key = 'd:' || d.position;
    UPDATE usher.parked_keys p SET held = true
    FROM usher.dead_letters d
    WHERE d.replay_id = cancel_replay.replay_id AND p.subscription_id = d.subscription_id AND p.failed = d.position;
    UPDATE usher.dead_letters d SET replay_id = NULL WHERE d.replay_id = cancel_replay.replay_id;
END
$$;
COMMENT ON FUNCTION usher.cancel_replay IS
'End a replay that runs; what it has sent stays sent. Error: US018 for one that does not exist or has ended.';
