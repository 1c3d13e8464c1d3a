CREATE FUNCTION usher.gateway_read_log(tenant_name text, after bigint DEFAULT 0, max integer DEFAULT 100, patterns text[] DEFAULT NULL,
                                       scan_max integer DEFAULT 100000)
RETURNS TABLE (next bigint, more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text,
               key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_gateway_read_log';
COMMENT ON FUNCTION usher.gateway_read_log IS
'usher.read for a tenant by its name: events behind after whose type matches any of the patterns (null or empty: all; at most 100), at most max (1 to 10,000), not more than the first that brings their data and metadata to 1 MB, and no more than scan_max (1 to 100,000) examined. next, the same in each row, is the last position examined: go on behind it. more, too: there is something behind it. A page without events is one row with these two alone. Errors: US004 position_gone, US006, US010 unknown_tenant, US012, US018. For usher_gateway.';
