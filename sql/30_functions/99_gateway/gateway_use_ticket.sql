CREATE FUNCTION usher.gateway_use_ticket(hash bytea, kind text)
RETURNS TABLE (tenant text, user_id text, session text, actor_type text, is_key boolean, rate_class text, roles text, scopes text,
               issued_at bigint, expires_at bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF $2 = 'websocket' THEN
        -- Of several who try, the row's lock lets one have it.
        RETURN QUERY
            DELETE FROM usher.tickets k USING usher.tenants t
            WHERE k.hash = $1 AND k.kind = $2 AND k.expires_at > clock_timestamp() AND t.tenant_id = k.tenant_id
            RETURNING t.slug, k.user_id, k.session, k.actor_type, k.is_key, k.rate_class, k.roles, k.scopes, k.issued_at, k.token_expires_at;
    ELSE
        RETURN QUERY
            SELECT t.slug, k.user_id, k.session, k.actor_type, k.is_key, k.rate_class, k.roles, k.scopes, k.issued_at, k.token_expires_at
            FROM usher.tickets k JOIN usher.tenants t USING (tenant_id)
            WHERE k.hash = $1 AND k.kind = $2 AND k.expires_at > clock_timestamp();
    END IF;
END
$$;
COMMENT ON FUNCTION usher.gateway_use_ticket IS
'Whom the ticket with this SHA-256 stands for, as it was given to usher.gateway_issue_ticket. No row when there is none of this kind, it has expired, or, of kind websocket, it was used: only one caller ever gets its row. Errors: 25006 of kind websocket on a standby. For usher_gateway.';
