CREATE FUNCTION usher.gateway_status(OUT version text, OUT protocol integer, OUT in_recovery boolean, OUT stable_position bigint,
                                     OUT oldest_position bigint, OUT now timestamptz)
RETURNS record
LANGUAGE sql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.extversion, usher.gateway_protocol(), pg_is_in_recovery(), usher.stable_position(), usher.oldest_position(), clock_timestamp()
    FROM pg_extension e WHERE e.extname = 'pg_usher'
$$;
COMMENT ON FUNCTION usher.gateway_status IS
'What the gateway asks before it serves, and while it does: the extension''s version, usher.gateway_protocol, whether the server is a standby, up to where the log can be read and from where on it is kept, and the server''s clock. For usher_gateway.';
