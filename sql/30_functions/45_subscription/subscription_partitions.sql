CREATE FUNCTION usher.subscription_partitions(subscription_id integer)
RETURNS TABLE (partition integer, "position" bigint, lease bigint, delivered_up_to bigint)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_subscription_partitions';
COMMENT ON FUNCTION usher.subscription_partitions IS
'Internal, for usher.subscription_status: where each partition is, and what is out.';
