CREATE FUNCTION usher.hold(name text, "position" bigint)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT usher.check_name(hold.name, 'name of a hold');
    INSERT INTO usher.holds (name, position) VALUES (hold.name, hold.position)
    ON CONFLICT (name) DO UPDATE SET position = EXCLUDED.position, updated_at = now();
END;
COMMENT ON FUNCTION usher.hold IS
'Keep the log behind a position for a cursor of this name: retention does not pass it. Call it again to move it, usher.release to let go. Error: US006 invalid_name.';
