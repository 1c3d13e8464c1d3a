CREATE FUNCTION usher.purge_dead_letters(sink text, filter jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target CONSTANT integer := usher.sink_named(purge_dead_letters.sink);
    letters CONSTANT bigint[] := ARRAY(SELECT usher.dead_letters_like(target, NULL, purge_dead_letters.filter));
    purged bigint;
BEGIN
    DELETE FROM usher.dead_letters d
    WHERE d.dead_letter_id = ANY (letters);
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END
$$;
COMMENT ON FUNCTION usher.purge_dead_letters IS
'Delete the dead letters of a sink, of every tenant, that a filter describes as for usher.replay_dead_letters, except those that are being sent again; returns how many there were. The events stay in the log. Errors: US022 unknown_sink, US018 for a filter that is none.';
