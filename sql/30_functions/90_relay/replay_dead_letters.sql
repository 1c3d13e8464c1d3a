CREATE FUNCTION usher.replay_dead_letters(name text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_sink         CONSTANT boolean := EXISTS (SELECT FROM usher.sink_status s WHERE s.sink = replay_dead_letters.name);
    is_subscription CONSTANT boolean := EXISTS (SELECT FROM usher.subscriptions s
                                                WHERE s.tenant_id = usher.current_tenant() AND s.name = replay_dead_letters.name);
BEGIN
    IF is_sink AND is_subscription THEN
        RAISE EXCEPTION 'both a sink and a subscription are named "%"', replay_dead_letters.name
            USING ERRCODE = 'US018', HINT = 'Use usher.replay_sink_dead_letters or usher.replay_subscription_dead_letters.';
    ELSIF is_sink THEN
        RETURN usher.replay_sink_dead_letters(replay_dead_letters.name, replay_dead_letters.filter);
    ELSIF is_subscription THEN
        RETURN usher.replay_subscription_dead_letters(replay_dead_letters.name, replay_dead_letters.filter);
    END IF;
    RAISE EXCEPTION 'neither a subscription nor a sink is named "%"', replay_dead_letters.name USING ERRCODE = 'US003';
END
$$;
COMMENT ON FUNCTION usher.replay_dead_letters IS
'Deliver dead letters of a subscription of the session''s tenant, or of a sink (for members of usher_admin), once more: those that contain the filter, an object of tenant, type, stream, topic, partition, key, error_code, and position {"from", "to"}. One that is delivered, or acknowledged, is a dead letter no more; one that fails again stays. Returns the number of the replay; usher.replay_status tells how many were replayed, failed again, or were skipped because retention has removed them. Errors: US003 when nothing has this name, US018 for a filter that is none or a name that both a sink and a subscription have.';
