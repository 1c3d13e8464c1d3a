CREATE FUNCTION usher.release(name text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM usher.holds h WHERE h.name = release.name;
END;
COMMENT ON FUNCTION usher.release IS 'Let go of what usher.hold keeps under this name.';
