CREATE FUNCTION usher.gateway_protocol()
RETURNS integer
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_gateway_protocol';
COMMENT ON FUNCTION usher.gateway_protocol IS
'Version of what stands between this extension and usherd, its HTTP gateway; a gateway refuses one that it does not know.';
