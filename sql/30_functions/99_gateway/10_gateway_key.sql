CREATE FUNCTION usher.gateway_key(user_id text, idempotency_key text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    who text := coalesce(user_id, '');
BEGIN
    PERFORM usher.check_name(idempotency_key, 'idempotency key');
    RETURN 'gateway ' || encode(sha256(convert_to(octet_length(who) || ':' || who || idempotency_key, getdatabaseencoding())), 'hex');
END
$$;
COMMENT ON FUNCTION usher.gateway_key IS
'Internal: the key of usher.once under which a user''s Idempotency-Key is kept, the same that usher.append_requests takes. Error: US006 for a key that is no name.';
