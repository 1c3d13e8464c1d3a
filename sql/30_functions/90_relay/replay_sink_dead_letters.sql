CREATE FUNCTION usher.replay_sink_dead_letters(sink text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target CONSTANT integer := usher.sink_named(replay_sink_dead_letters.sink);
    letters CONSTANT bigint[] := ARRAY(SELECT usher.dead_letters_like(target, NULL, replay_sink_dead_letters.filter));
    new_id bigint;
BEGIN
    INSERT INTO usher.replays AS r (sink_id, kind) VALUES (target, 'dead_letters') RETURNING r.replay_id INTO new_id;
    UPDATE usher.dead_letters d SET replay_id = new_id
    WHERE d.dead_letter_id = ANY (letters);
    IF NOT FOUND THEN
        UPDATE usher.replays r SET state = 'done', ended_at = now() WHERE r.replay_id = new_id;
    END IF;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION usher.replay_sink_dead_letters IS
'Send dead letters of a sink once more, by the routes of now, marked as replays: those of every tenant that a filter describes as for usher.replay_dead_letters. One that is delivered is a dead letter no more, one that fails again stays. Returns the number of the replay; usher.replay_status tells how many were replayed, failed again, or were skipped because retention has removed them. For members of usher_admin. Errors: US022 unknown_sink, US018 for a filter that is none.';
