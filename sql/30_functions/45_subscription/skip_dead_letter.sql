CREATE FUNCTION usher.skip_dead_letter(subscription text, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target usher.subscriptions := usher.subscription_named(skip_dead_letter.subscription);
    replay bigint;
BEGIN
    DELETE FROM usher.dead_letters d
    WHERE d.subscription_id = target.subscription_id AND d.position = skip_dead_letter."position"
    RETURNING d.replay_id INTO replay;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" has no dead letter at position %', target.name, skip_dead_letter."position"
            USING ERRCODE = 'US018';
    END IF;
    -- One that is being tried again is tried no more.
    DELETE FROM usher.parked_keys p
    WHERE p.subscription_id = target.subscription_id AND p.key = 'd:' || skip_dead_letter."position";
    -- A key that is held for it goes on behind it. (What precedes it in the key and was never acknowledged is delivered again first,
    -- and then the event itself.)
    UPDATE usher.parked_keys p
    SET position = CASE WHEN p.position = p.failed THEN p.position + 1 ELSE p.position END, failed = NULL, attempts = 0, held = false,
        next_at = now(), error = NULL
    WHERE p.subscription_id = target.subscription_id AND p.failed = skip_dead_letter."position" AND p.held;
    PERFORM usher.wake_subscription(target.subscription_id);
END
$$;
COMMENT ON FUNCTION usher.skip_dead_letter IS
'Give an event up: its dead letter is deleted, and a key that was held for it goes on behind it. Errors: US003 unknown_subscription, US018 when there is none.';
