CREATE FUNCTION usher.check_rdkafka_property(property text, value jsonb)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- What loads libraries or runs programs as the server, for nobody; what the relay sets itself.
    IF property = ANY (ARRAY['plugin.library.paths', 'ssl.engine.location', 'ssl.engine.id', 'ssl.providers', 'sasl.kerberos.kinit.cmd',
                             'sasl.kerberos.min.time.before.relogin', 'transactional.id']) THEN
        RAISE EXCEPTION 'property "%" of librdkafka cannot be set', property USING ERRCODE = 'US018';
    END IF;
    IF jsonb_typeof(value) = 'object' THEN
        PERFORM usher.check_sink_reference(property, value);
    ELSIF jsonb_typeof(value) NOT IN ('string', 'number', 'boolean') THEN
        RAISE EXCEPTION 'property "%" of librdkafka cannot be %', property, jsonb_typeof(value) USING ERRCODE = 'US018';
    ELSIF property ~ '(password|secret|\.key\.pem$|^sasl\.oauthbearer\.config$)' THEN
        PERFORM usher.refuse_plain_secret(property);
    END IF;
    IF property ~ '(\.location|\.keytab|\.paths?|\.file)$' THEN
        PERFORM usher.check_sink_file(property);
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_rdkafka_property IS
'Internal: raise US018 unless a sink may set this property of librdkafka to this value, 42501 if it names a file and the current role may not have the server read files.';
