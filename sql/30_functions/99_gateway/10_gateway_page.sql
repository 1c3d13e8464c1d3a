CREATE FUNCTION usher.gateway_page(max integer)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max IS NULL OR max NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'max must be between 1 and 10000' USING ERRCODE = 'US018';
    END IF;
    RETURN max;
END
$$;
COMMENT ON FUNCTION usher.gateway_page IS 'Internal: how many rows a page of the gateway may have. Error: US018.';
