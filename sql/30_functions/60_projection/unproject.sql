CREATE FUNCTION usher.unproject(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.projections p
    WHERE p.tenant_id = usher.current_tenant() AND p.name = unproject.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'projection "%" does not exist', unproject.name USING ERRCODE = 'US017';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.unproject IS 'Remove an inline projection; what it has written stays. Error: US017 unknown_projection.';
