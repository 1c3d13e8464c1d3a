CREATE FUNCTION usher.handle(name text, pattern text, handler regprocedure, options jsonb DEFAULT '{}',
                             mode text DEFAULT 'async', from_position bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    limit_ms   numeric;
    rest       jsonb := coalesce(handle.options, '{}') - 'timeout' - 'partitions' - 'mode';
    how        text := coalesce(handle.options ->> 'mode', handle.mode);
    known      usher.subscriptions;
BEGIN
    PERFORM usher.check_name(handle.name, 'handler name'), usher.check_name(handle.pattern, 'pattern');
    IF jsonb_typeof(coalesce(handle.options, '{}')) <> 'object' THEN
        RAISE EXCEPTION 'options must be a JSON object' USING ERRCODE = 'US018';
    END IF;
    IF handle.handler IS NULL OR how IS NULL OR how NOT IN ('async', 'sync') THEN
        RAISE EXCEPTION 'a handler needs a function, and the mode "async" or "sync"' USING ERRCODE = 'US018';
    END IF;
    SELECT s.* INTO known FROM usher.subscriptions s
    WHERE s.tenant_id = usher.current_tenant() AND s.name = handle.name;
    IF how = 'sync' THEN
        IF handle.options - 'mode' <> '{}' OR handle.from_position IS NOT NULL THEN
            RAISE EXCEPTION 'a handler that runs in the appending call has no options and no position'
                USING ERRCODE = 'US018', HINT = 'What exists already reaches it by CALL usher.rebuild(name).';
        END IF;
        IF known.subscription_id IS NOT NULL THEN
            RAISE EXCEPTION 'subscription "%" exists already', handle.name USING ERRCODE = '42710';
        END IF;
        PERFORM usher.project(handle.name, handle.pattern, handle.handler);
        RETURN;
    END IF;
    PERFORM usher.check_function(handle.handler, ARRAY['usher.event']);
    IF EXISTS (SELECT FROM usher.projections p WHERE p.tenant_id = usher.current_tenant() AND p.name = handle.name) THEN
        RAISE EXCEPTION 'handler "%" exists already, and runs in the appending call', handle.name
            USING ERRCODE = '42710', HINT = 'Remove it with usher.unhandle first.';
    END IF;
    BEGIN
        limit_ms := coalesce(1000 * extract(epoch FROM (handle.options ->> 'timeout')::interval), 30000);
        IF limit_ms NOT BETWEEN 1 AND 86400000 THEN
            RAISE EXCEPTION 'out of range' USING ERRCODE = '22008';
        END IF;
    EXCEPTION
        WHEN invalid_datetime_format OR datetime_field_overflow THEN
            RAISE EXCEPTION 'the timeout of handler "%" must be an interval of 1 ms to 1 day', handle.name USING ERRCODE = 'US018';
    END;
    IF known.subscription_id IS NULL THEN
        PERFORM usher.subscribe(handle.name, handle.pattern, handle.from_position,
                                usher.option_integer(handle.options, 'partitions', 8), rest);
        SELECT s.* INTO STRICT known FROM usher.subscriptions s
        WHERE s.tenant_id = usher.current_tenant() AND s.name = handle.name;
        INSERT INTO usher.handlers (subscription_id, tenant_id, handler, owner, timeout_ms)
        VALUES (known.subscription_id, known.tenant_id, handle.handler::text, current_user::regrole, limit_ms);
        RETURN;
    END IF;
    -- It exists: what it is changes, where it is does not.
    IF rest <> '{}' OR handle.options ? 'partitions' OR handle.from_position IS NOT NULL THEN
        RAISE EXCEPTION 'only pattern, function and timeout of handler "%" can be changed', handle.name
            USING ERRCODE = 'US018', HINT = 'Remove it with usher.unhandle and register it again.';
    END IF;
    UPDATE usher.handlers h SET handler = handle.handler::text, owner = current_user::regrole, timeout_ms = limit_ms
    WHERE h.subscription_id = known.subscription_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" exists already', handle.name USING ERRCODE = '42710';
    END IF;
    UPDATE usher.subscriptions s SET pattern = handle.pattern WHERE s.subscription_id = known.subscription_id;
END
$$;
COMMENT ON FUNCTION usher.handle IS
'Register (or change) a handler of the session''s tenant: for every event whose type matches the pattern the function handler(usher.event) is called. mode "async": after the commit, by a pool of background workers (usher.handler_workers), as the registering role, with search_path = pg_catalog, pg_temp unless the function sets its own, each event in its own subtransaction and with its tenant and actor set (usher.tenant, usher.actor, usher.causation_id, usher.correlation_id); what it writes commits together with the progress, at most 50 events at a time. One that raises or does not end within the timeout is rolled back alone, tried again with backoff while its key waits, and in the end a dead letter. options: timeout (30 s), partitions (8) and those of usher.subscribe; from_position as there. A handler is a subscription of its name: pause, resume, seek, skip and see it as such. mode "sync": inside the appending call, as usher.project. Errors: 42710 when another subscription has the name, 42501, US006, US018.';
