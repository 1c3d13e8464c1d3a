CREATE FUNCTION usher.refuse_plain_secret(option text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'option "%" of a sink is a secret, and is not written into its config', option
        USING ERRCODE = 'US018',
              HINT = format('Store it with usher.set_sink_secret, and name it: {"%s": {"secret": "its name"}}.', option);
END
$$;
COMMENT ON FUNCTION usher.refuse_plain_secret IS
'Internal: raise US018 for a secret that stands in a config.';
