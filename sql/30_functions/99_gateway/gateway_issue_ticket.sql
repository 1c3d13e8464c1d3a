CREATE FUNCTION usher.gateway_issue_ticket(hash bytea, kind text, tenant text, user_id text, session text, actor_type text, is_key boolean,
                                           rate_class text, roles text, scopes text, issued_at bigint, token_expires_at bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    expires CONSTANT timestamptz := CASE
        WHEN $2 = 'websocket' THEN least(clock_timestamp() + '30 s', to_timestamp(nullif($12, 0)))
        WHEN $12 = 0 THEN clock_timestamp() + '1 day'
        ELSE to_timestamp($12) END;
BEGIN
    -- A ticket that a crash of the server loses is asked for again.
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM usher.tickets t
    USING (SELECT o.hash FROM usher.tickets o WHERE o.expires_at < now() - '1 minute'::interval ORDER BY o.expires_at LIMIT 20 FOR UPDATE SKIP LOCKED) old
    WHERE t.hash = old.hash;
    INSERT INTO usher.tickets (tenant_id, hash, kind, user_id, session, actor_type, is_key, rate_class, roles, scopes, issued_at, token_expires_at, expires_at)
    SELECT t.tenant_id, $1, $2, $4, $5, $6, $7, $8, $9, $10, $11, $12, expires FROM usher.tenants t WHERE t.slug = $3;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no tenant "%"', $3 USING ERRCODE = 'US010';
    END IF;
    RETURN floor(extract(epoch FROM expires))::bigint;
END
$$;
COMMENT ON FUNCTION usher.gateway_issue_ticket IS
'Keep what a ticket with this SHA-256 stands for. kind websocket: to be used once, within 30 seconds; sse: until the token ends, or for a day when it does not. The other arguments are those of the token: roles and scopes with blanks between, times in seconds since 1970 (0: none). Returns when the ticket expires, in seconds since 1970. Errors: US010, 25006 on a standby. For usher_gateway.';
