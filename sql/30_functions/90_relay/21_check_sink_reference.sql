CREATE FUNCTION usher.check_sink_reference(option text, value jsonb)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (SELECT count(*) FROM jsonb_each(value)) <> 1
       OR jsonb_typeof(coalesce(value -> 'secret', value -> 'file')) <> 'string'
       OR coalesce(value ->> 'secret', value ->> 'file') = '' THEN
        RAISE EXCEPTION 'option "%" of a sink is neither {"secret": name} nor {"file": path}', option USING ERRCODE = 'US018';
    END IF;
    IF value ? 'file' THEN
        PERFORM usher.check_sink_file(option);
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_sink_reference IS
'Internal: raise US018 unless a value is {"secret": name} or {"file": path}, 42501 if it is a file and the current role may not have the server read files.';
