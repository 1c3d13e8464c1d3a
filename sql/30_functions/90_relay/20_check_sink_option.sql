CREATE FUNCTION usher.check_sink_option(option text, type text, lowest bigint, highest bigint, choices text[], value jsonb)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    referred CONSTANT boolean := jsonb_typeof(value) = 'object' AND value ?| ARRAY['secret', 'file'];
    plain    CONSTANT text := value #>> '{}';
BEGIN
    IF type = 'file' THEN
        PERFORM usher.check_sink_file(option);      -- also when the path is stored as a secret
    END IF;
    IF referred THEN
        PERFORM usher.check_sink_reference(option, value);
        RETURN;
    END IF;
    IF type <> 'object' AND jsonb_typeof(value) NOT IN ('string', 'number', 'boolean')
       AND NOT (type = 'text' AND jsonb_typeof(value) = 'array' AND NOT value @? '$[*] ? (@.type() != "string")') THEN
        RAISE EXCEPTION 'option "%" of a sink cannot be %', option, jsonb_typeof(value) USING ERRCODE = 'US018';
    END IF;
    CASE type
        WHEN 'integer' THEN
            IF plain !~ '^-?[0-9]{1,18}$' OR plain::bigint NOT BETWEEN lowest AND highest THEN
                RAISE EXCEPTION 'option "%" of a sink is not a whole number from % to %', option, lowest, highest USING ERRCODE = 'US018';
            END IF;
        WHEN 'boolean' THEN
            IF plain NOT IN ('true', 'false') THEN
                RAISE EXCEPTION 'option "%" of a sink is neither true nor false', option USING ERRCODE = 'US018';
            END IF;
        WHEN 'choice' THEN
            IF plain <> ALL (choices) THEN
                RAISE EXCEPTION 'option "%" of a sink is not one of %', option, array_to_string(choices, ', ') USING ERRCODE = 'US018';
            END IF;
        WHEN 'secret' THEN
            PERFORM usher.refuse_plain_secret(option);
        WHEN 'object' THEN
            IF jsonb_typeof(value) <> 'object' THEN
                RAISE EXCEPTION 'option "%" of a sink is not an object', option USING ERRCODE = 'US018';
            END IF;
            PERFORM usher.check_rdkafka_property(p.key, p.value) FROM jsonb_each(value) p;
        ELSE        -- text, file
            -- scheme://user:password@host
            IF value::text ~ '[a-zA-Z][a-zA-Z0-9+.-]*://[^/@"]*:[^/@"]+@' THEN
                RAISE EXCEPTION 'option "%" of a sink has a password in its URL', option
                    USING ERRCODE = 'US018',
                          HINT = 'Leave it out of the URL: store it with usher.set_sink_secret, and name it as "password": {"secret": "its name"}.';
            END IF;
    END CASE;
END
$$;
COMMENT ON FUNCTION usher.check_sink_option IS
'Internal: raise US018 unless an option of a sink may have this value, 42501 if it names a file and the current role may not have the server read files.';
