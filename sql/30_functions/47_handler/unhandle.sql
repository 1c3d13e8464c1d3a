CREATE FUNCTION usher.unhandle(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM usher.projections p WHERE p.tenant_id = usher.current_tenant() AND p.name = unhandle.name) THEN
        PERFORM usher.unproject(unhandle.name);
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM usher.handlers h JOIN usher.subscriptions s USING (subscription_id)
                   WHERE s.tenant_id = usher.current_tenant() AND s.name = unhandle.name) THEN
        RAISE EXCEPTION 'handler "%" does not exist', unhandle.name USING ERRCODE = 'US003';
    END IF;
    PERFORM usher.unsubscribe(unhandle.name);
END
$$;
COMMENT ON FUNCTION usher.unhandle IS
'Remove a handler with its progress, parked keys and dead letters; what it has written stays. Waits for the batch that runs. Error: US003 when there is none.';
