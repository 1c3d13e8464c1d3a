CREATE FUNCTION usher.dead_letters_like(sink_id integer, subscription_id integer, filter jsonb)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    field text;
    range CONSTANT jsonb := coalesce(filter -> 'position', '{}');
BEGIN
    IF filter IS NULL OR jsonb_typeof(filter) <> 'object' THEN
        RAISE EXCEPTION 'a filter of dead letters is not an object' USING ERRCODE = 'US018';
    END IF;
    SELECT k INTO field FROM jsonb_object_keys(filter) k
    WHERE k NOT IN ('tenant', 'type', 'stream', 'topic', 'partition', 'key', 'error_code', 'position');
    IF FOUND THEN
        RAISE EXCEPTION 'a filter of dead letters has no "%"', field
            USING ERRCODE = 'US018', HINT = 'It has tenant, type, stream, topic, partition, key, error_code and position {"from", "to"}.';
    END IF;
    IF jsonb_typeof(range) <> 'object' OR range - 'from' - 'to' <> '{}'
       OR EXISTS (SELECT FROM jsonb_each(range) r WHERE r.value::text !~ '^[0-9]{1,18}$') THEN
        RAISE EXCEPTION 'position of a filter is not {"from": number, "to": number}' USING ERRCODE = 'US018';
    END IF;
    RETURN QUERY
        SELECT d.dead_letter_id FROM usher.dead_letters d
        WHERE (d.sink_id = dead_letters_like.sink_id OR d.subscription_id = dead_letters_like.subscription_id) AND d.replay_id IS NULL
          AND d.position BETWEEN coalesce((range ->> 'from')::bigint, 0) AND coalesce((range ->> 'to')::bigint, 9223372036854775807)
          AND jsonb_build_object('tenant', usher.tenant_name(d.tenant_id), 'type', d.type, 'stream', d.envelope ->> 'subject', 'topic', d.topic,
                                 'partition', d.partition, 'key', d.key, 'error_code', d.error_code) @> (filter - 'position')
        FOR UPDATE;
END
$$;
COMMENT ON FUNCTION usher.dead_letters_like IS
'Internal: the dead letters of a sink, or of a subscription, that a filter describes and that are not being sent again. Error: US018 for a filter that is none.';
