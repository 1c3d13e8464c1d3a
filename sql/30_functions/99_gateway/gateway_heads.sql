CREATE FUNCTION usher.gateway_heads(after bigint, max integer DEFAULT 10000, patterns text[] DEFAULT NULL)
RETURNS TABLE (next bigint, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text, key text,
               recorded_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'usher_gateway_heads';
COMMENT ON FUNCTION usher.gateway_heads IS
'What stands behind after in the log, of all tenants and without the events'' content, up to the stable position, at most max (1 to 10,000), of 100,000 that are examined. patterns: only of types that match one of them; null or empty: of every type. next, the same in each row, is the last position examined; a page without events is one row with next alone. Errors: US004 position_gone, US006 invalid_name, US012, US018. For usher_gateway.';
