CREATE FUNCTION usher.gateway_snapshot(tenant_name text, user_id text, name text, arguments jsonb)
RETURNS TABLE ("position" bigint, data jsonb)
LANGUAGE plpgsql VOLATILE ROWS 1
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
#variable_conflict use_column
DECLARE
    function text;
    later    boolean;
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    SELECT format('%I.%I', n.nspname, p.proname) INTO function
    FROM usher.snapshot_functions f
    JOIN pg_proc p ON p.oid = to_regprocedure(f.function) JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE f.name = $3 AND p.prosecdef AND p.provolatile = 's' AND p.prorettype = 'jsonb'::regtype AND NOT p.proretset;
    IF function IS NULL THEN
        RAISE EXCEPTION 'there is no snapshot "%"', $3 USING ERRCODE = 'US042';
    END IF;
    -- The statement behind the stable position has one snapshot. When that has no event beyond the position (one that
    -- was committed between, or before another that still is), it has exactly those up to it.
    FOR attempt IN 1 .. 500 LOOP
        position := usher.stable_position();
        EXECUTE format('SELECT l.later, CASE WHEN NOT l.later THEN %s($1, $2, $3) END'
                       ' FROM (SELECT EXISTS (SELECT FROM usher.log e WHERE e.position > $4) AS later OFFSET 0) l', function)
            INTO later, data USING $1, $2, coalesce($4, '{}'), position;
        IF NOT later THEN
            RETURN NEXT;
            RETURN;
        END IF;
        PERFORM pg_sleep(0.001 * least(attempt, 20));
    END LOOP;
    RAISE EXCEPTION 'no instant without a commit under way was found' USING ERRCODE = '40001';
END
$$;
COMMENT ON FUNCTION usher.gateway_snapshot IS
'What the snapshot of this name (usher.offer_snapshot) is for a tenant and user, and the position of the same instant: it has the effects of all events up to it, and of none behind. Errors: US010, US042, 40001 when there was no instant without a commit under way, and those of the function. For usher_gateway.';
