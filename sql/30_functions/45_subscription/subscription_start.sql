CREATE FUNCTION usher.subscription_start(subscription_id integer, "position" bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_subscription_start';
COMMENT ON FUNCTION usher.subscription_start IS
'Internal, for usher.subscribe and usher.seek_subscription: all partitions go on behind a position; leases are lost.';
