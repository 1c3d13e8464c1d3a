CREATE FUNCTION usher.gateway_tail(after bigint, max integer DEFAULT 1000)
RETURNS TABLE (next bigint, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text,
               key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_gateway_tail';
COMMENT ON FUNCTION usher.gateway_tail IS
'The events behind after in the log, of all tenants, up to the stable position: at most max (1 to 10,000), and not more than the first that brings their data and metadata to 1 MB. next, the same in each row, is the last position examined; a page without events is one row with next alone. Errors: US004 position_gone, US012, US018. For usher_gateway.';
