CREATE FUNCTION usher.create_api_key(name text, scopes text[], expires_at timestamptz DEFAULT NULL, rate_class text DEFAULT 'general')
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- 366 random bits, of which the hash keeps 256
    secret CONSTANT text := 'usk_' || rtrim(translate(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
                                                             'base64'), '+/', '-_'), '=');
BEGIN
    PERFORM usher.check_name(create_api_key.name, 'name of an API key'), usher.check_name(create_api_key.rate_class, 'rate class');
    IF create_api_key.scopes IS NULL OR EXISTS (SELECT FROM unnest(create_api_key.scopes) s WHERE s IS NULL OR s !~ '^[!-~]{1,255}$') THEN
        RAISE EXCEPTION 'a scope is 1 to 255 printable characters without blanks' USING ERRCODE = 'US018';
    END IF;
    IF create_api_key.expires_at <= now() THEN
        RAISE EXCEPTION 'the key would have expired already' USING ERRCODE = 'US018';
    END IF;
    INSERT INTO usher.api_keys (tenant_id, name, hash, scopes, rate_class, expires_at)
    VALUES (usher.current_tenant(), create_api_key.name, sha256(convert_to(secret, 'UTF8')), create_api_key.scopes, create_api_key.rate_class,
            create_api_key.expires_at)
    ON CONFLICT ON CONSTRAINT api_keys_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'API key "%" exists already', create_api_key.name
            USING ERRCODE = 'US018', HINT = 'Drop it with usher.drop_api_key, or take another name.';
    END IF;
    RETURN secret;
END
$$;
COMMENT ON FUNCTION usher.create_api_key IS
'Make an API key of a service for the HTTP gateway, in the session''s tenant, with scopes (e.g. log:read, log:append:order), until expires_at (null: for ever), under the rate limit of a class. Returns the secret, usk_ and 43 characters, which is shown this once: only its hash is kept. For usher_admin. Errors: US006, US018 also for a name that exists.';
