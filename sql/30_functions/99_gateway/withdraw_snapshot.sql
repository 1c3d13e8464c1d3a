CREATE FUNCTION usher.withdraw_snapshot(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM usher.snapshot_functions f WHERE f.name = withdraw_snapshot.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no snapshot "%"', withdraw_snapshot.name USING ERRCODE = 'US042';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.withdraw_snapshot IS 'Offer a snapshot of the live log no more; the function stays. For usher_admin. Errors: US042.';
