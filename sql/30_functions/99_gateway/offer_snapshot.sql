CREATE FUNCTION usher.offer_snapshot(name text, function regprocedure)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found pg_proc;
BEGIN
    PERFORM usher.check_name(offer_snapshot.name, 'name of a snapshot');
    PERFORM usher.check_function(offer_snapshot.function, ARRAY['text', 'text', 'jsonb']);
    SELECT p.* INTO STRICT found FROM pg_proc p WHERE p.oid = offer_snapshot.function;
    IF found.prorettype <> 'jsonb'::regtype OR found.proretset OR found.provolatile <> 's' OR NOT found.prosecdef THEN
        RAISE EXCEPTION 'function % must be STABLE and SECURITY DEFINER, and return jsonb', offer_snapshot.function
            USING ERRCODE = 'US018', HINT = 'STABLE: it sees the log and the tables at one instant. SECURITY DEFINER: it has the rights of its owner, and not those of the gateway.';
    END IF;
    IF NOT pg_has_role(found.proowner, 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of function %', offer_snapshot.function USING ERRCODE = '42501';
    END IF;
    INSERT INTO usher.snapshot_functions (name, function)
    VALUES (offer_snapshot.name, (SELECT format('%I.%I(text,text,jsonb)', n.nspname, found.proname) FROM pg_namespace n WHERE n.oid = found.pronamespace))
    ON CONFLICT ON CONSTRAINT snapshot_functions_pkey DO UPDATE SET function = EXCLUDED.function;
END
$$;
COMMENT ON FUNCTION usher.offer_snapshot IS
'Let clients of the live log ask for the snapshot of this name when they subscribe: function(tenant text, user_id text, arguments jsonb) returns jsonb is called for the token''s tenant and user, with usher.tenant set, and must be STABLE and SECURITY DEFINER; its owner must be able to use the tenant. It is for all tenants. A name that exists gets the new function. For usher_admin, of functions that the caller owns. Errors: US006, US018, 42501.';
