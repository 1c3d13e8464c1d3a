CREATE FUNCTION usher.check_function(function regprocedure, arguments text[])
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    actual text[];
BEGIN
    SELECT coalesce(array_agg(format_type(t.oid, NULL) ORDER BY t.n), '{}') INTO actual
    FROM pg_proc p, unnest(p.proargtypes) WITH ORDINALITY AS t (oid, n)
    WHERE p.oid = check_function.function;
    IF actual <> arguments THEN
        RAISE EXCEPTION 'function % does not take exactly (%)', check_function.function, array_to_string(arguments, ', ')
            USING ERRCODE = 'US018';
    END IF;
    -- Whoever has the same number of a session later could put another one in its place.
    IF EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE p.oid = check_function.function AND n.nspname LIKE 'pg\_temp\_%') THEN
        RAISE EXCEPTION 'function % is temporary', check_function.function USING ERRCODE = 'US018';
    END IF;
    IF NOT has_function_privilege(check_function.function, 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for function %', check_function.function USING ERRCODE = '42501';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_function IS
'Internal: raise US018 unless the function takes exactly these argument types and is not temporary, 42501 unless the caller may execute it.';
