CREATE FUNCTION usher.memory_messages(sink text, topic text DEFAULT NULL, after bigint DEFAULT 0, max integer DEFAULT 1000)
RETURNS SETOF usher.memory_message
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found usher.sinks;
BEGIN
    SELECT s.* INTO found FROM usher.sinks s WHERE s.name = memory_messages.sink;
    IF found.sink_id IS NULL THEN
        RAISE EXCEPTION 'sink "%" does not exist', memory_messages.sink USING ERRCODE = 'US022';
    END IF;
    IF found.kind <> 'memory' THEN
        RAISE EXCEPTION 'sink "%" is of kind %, not memory', memory_messages.sink, found.kind USING ERRCODE = 'US018';
    END IF;
    IF memory_messages.after IS NULL OR memory_messages.max IS NULL OR memory_messages.max < 0 THEN
        RAISE EXCEPTION 'after and max cannot be null or negative' USING ERRCODE = 'US018';
    END IF;
    RETURN QUERY
        SELECT m.number, m."position", m.topic_name, m.key, m.headers::jsonb, m.body, m.added_at
        FROM usher.ring_messages(found.sink_id, memory_messages.topic, memory_messages.after, memory_messages.max) m;
END
$$;
COMMENT ON FUNCTION usher.memory_messages IS
'Messages that a sink of kind memory holds, as a broker would have got them, oldest first: with number > after, of one topic or all, at most max. It keeps the newest 10,000 messages and 16 MB, until the server stops; number counts from 1 and shows by its gaps what was dropped. For members of usher_admin: the sink has the events of every tenant. Errors: US022 unknown_sink, US018 for a sink of another kind.';
