CREATE FUNCTION usher.gateway_revocations(after bigint DEFAULT 0)
RETURNS TABLE ("position" bigint, tenant text, kind text, id text, not_before timestamptz, not_before_unix bigint, recorded_at timestamptz)
LANGUAGE plpgsql VOLATILE ROWS 100
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stable CONSTANT bigint := usher.stable_position();
    slug text;
    page record;
    reached bigint;
BEGIN
    FOR slug IN
        SELECT t.slug FROM usher.tenants t
        JOIN usher.stream_registry r ON r.tenant_id = t.tenant_id AND r.stream = 'usher.revocations'
        ORDER BY t.tenant_id
    LOOP
        reached := greatest(after, usher.oldest_position() - 1);
        LOOP
            SELECT max(e.position) AS last, bool_or(e.more) AS more INTO page
            FROM usher.gateway_read_category(slug, 'usher.revocations', reached, 10000) e;
            EXIT WHEN page.last IS NULL;
            RETURN QUERY
                SELECT e.position, e.tenant, e.data ->> 'kind', e.data ->> 'id', (e.data ->> 'not_before')::timestamptz,
                       ceil(extract(epoch FROM (e.data ->> 'not_before')::timestamptz))::bigint, e.recorded_at
                FROM usher.gateway_read_category(slug, 'usher.revocations', reached, 10000) e
                WHERE e.type = 'usher.revoked' AND e.position <= page.last;
            reached := page.last;
            EXIT WHEN NOT page.more;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION usher.gateway_revocations IS
'What usher.revoke has revoked in any tenant and the log still has, behind a position. Refuse tokens that were issued before not_before; not_before_unix is that in seconds since 1970, rounded up. Take the stable position (usher.gateway_status) first and follow usher.gateway_heads behind it: an event usher.revoked there says that there is more to read. For usher_gateway.';
