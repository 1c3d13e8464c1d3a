CREATE FUNCTION usher.drop_api_key(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.api_keys k WHERE k.tenant_id = usher.current_tenant() AND k.name = drop_api_key.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'API key "%" does not exist', drop_api_key.name USING ERRCODE = 'US018';
    END IF;
    PERFORM usher.revoke('key', drop_api_key.name);
END
$$;
COMMENT ON FUNCTION usher.drop_api_key IS
'Remove an API key of the session''s tenant, and revoke it, so that gateways that have it in memory refuse it at once. For usher_admin. Errors: US018 for a name that does not exist.';
