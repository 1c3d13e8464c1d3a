CREATE FUNCTION usher.check_sink_file(option text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_has_role(current_user, 'pg_read_server_files', 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to name a file of the server in option "%" of a sink', option
            USING ERRCODE = '42501',
                  HINT = 'Only superusers and members of pg_read_server_files may. Store the value with usher.set_sink_secret instead.';
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_sink_file IS
'Internal: raise 42501 unless the current role may have the server read files.';
