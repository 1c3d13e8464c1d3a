CREATE FUNCTION usher.gateway_signals(after bigint DEFAULT NULL, max integer DEFAULT 1000)
RETURNS TABLE (next bigint, lost bigint, number bigint, tenant text, topic text, data text, sender text, sent_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'usher_gateway_signals';
COMMENT ON FUNCTION usher.gateway_signals IS
'As usher.read_signals, those of all tenants. Errors: US018. For usher_gateway.';
