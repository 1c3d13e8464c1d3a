CREATE FUNCTION usher.count_replayed(replay_id bigint, done bigint, failed bigint DEFAULT 0)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE usher.replays r
    SET replayed = r.replayed + count_replayed.done, failed = r.failed + count_replayed.failed,
        state = CASE WHEN left_over THEN r.state ELSE 'done' END,
        ended_at = CASE WHEN left_over THEN r.ended_at ELSE clock_timestamp() END
    FROM (SELECT EXISTS (SELECT FROM usher.dead_letters d WHERE d.replay_id = count_replayed.replay_id) AS left_over) l
    WHERE r.replay_id = count_replayed.replay_id;
END
$$;
COMMENT ON FUNCTION usher.count_replayed IS
'Internal: so many dead letters of a subscription''s replay are done, so many have failed again; without any left it has ended.';
