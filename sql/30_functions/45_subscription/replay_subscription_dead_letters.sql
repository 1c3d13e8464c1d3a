CREATE FUNCTION usher.replay_subscription_dead_letters(subscription text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(replay_subscription_dead_letters.subscription);
BEGIN
    IF replay_subscription_dead_letters.filter IS NULL THEN
        RAISE EXCEPTION 'a filter of dead letters is not an object' USING ERRCODE = 'US018';
    END IF;
    RETURN usher.replay_of_subscription(found.subscription_id, replay_subscription_dead_letters.filter);
END
$$;
COMMENT ON FUNCTION usher.replay_subscription_dead_letters IS
'Deliver dead letters of a subscription again, those that a filter describes as for usher.replay_dead_letters: each apart from its key, or where its key is held for it, in order with the key. One that is acknowledged is a dead letter no more, one that fails max_attempts times again stays. Returns the number of the replay; usher.replay_status tells how many were replayed, failed again, or were skipped because retention has removed them. Waits for acknowledgements that have not committed. Errors: US003 unknown_subscription, US018 for a filter that is none.';
