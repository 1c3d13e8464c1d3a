CREATE FUNCTION usher.skip_dead_letter(subscription text, "position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.subscriptions := usher.subscription_named(skip_dead_letter.subscription);
BEGIN
    DELETE FROM usher.dead_letters d
    WHERE d.subscription_id = found.subscription_id AND d.position = skip_dead_letter."position";
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" has no dead letter at position %', found.name, skip_dead_letter."position"
            USING ERRCODE = 'US018';
    END IF;
    -- A key that was held for it goes on behind it.
    UPDATE usher.parked_keys p
    SET position = p.position + 1, attempts = 0, held = false, next_at = now(), error = NULL
    WHERE p.subscription_id = found.subscription_id AND p.position = skip_dead_letter."position" AND p.held;
END
$$;
COMMENT ON FUNCTION usher.skip_dead_letter IS
'Give an event up: its dead letter is deleted, and a key that was held for it goes on behind it. Errors: US003 unknown_subscription, US018 when there is none.';
