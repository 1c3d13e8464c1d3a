CREATE FUNCTION usher.gateway_signal(tenant text, topic text, data text, sender text)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_gateway_signal';
COMMENT ON FUNCTION usher.gateway_signal IS
'As usher.signal, to a topic of the tenant of this name, also to one that begins with "usher."; data is JSON as text, which the caller has checked; sender the user who sends it, or empty. Null, and nothing was sent, when there is no such tenant, or a text is null or too long. Errors: 25006 on a standby. For usher_gateway.';
