CREATE FUNCTION usher.project(name text, pattern text, handler regprocedure, reset regprocedure DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM usher.check_name(project.name, 'projection name'), usher.check_name(project.pattern, 'pattern');
    IF project.handler IS NULL THEN
        RAISE EXCEPTION 'handler of a projection cannot be null' USING ERRCODE = 'US018';
    END IF;
    PERFORM usher.check_function(project.handler, ARRAY['usher.event']);
    IF project.reset IS NOT NULL THEN
        PERFORM usher.check_function(project.reset, '{}');
    END IF;
    INSERT INTO usher.projections AS p (tenant_id, name, pattern, handler, reset, owner)
    VALUES (usher.current_tenant(), project.name, project.pattern, project.handler::text, project.reset::text,
            current_user::regrole)
    ON CONFLICT ON CONSTRAINT projections_tenant_id_name_key DO UPDATE
        SET pattern = EXCLUDED.pattern, handler = EXCLUDED.handler, reset = EXCLUDED.reset, owner = EXCLUDED.owner;
END
$$;
COMMENT ON FUNCTION usher.project IS
'Register (or change) an inline projection of the session''s tenant: handler(usher.event) runs inside every append call whose type matches the pattern, in the same transaction, as the registering role and with search_path = pg_catalog, pg_temp unless the function sets its own (so that no appender''s can lead it astray); an error of the handler fails the append. reset() empties the projection before usher.rebuild. Events that exist already reach it by CALL usher.rebuild(name). Errors: US006 for a name or a pattern that is none, US018 for a function of another signature.';
