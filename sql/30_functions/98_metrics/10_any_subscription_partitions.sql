CREATE FUNCTION usher.any_subscription_partitions(subscription_id integer)
RETURNS TABLE (partition integer, "position" bigint, lease bigint, delivered_up_to bigint)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_any_subscription_partitions';
COMMENT ON FUNCTION usher.any_subscription_partitions IS 'Internal, for usher.metrics: usher.subscription_partitions of any tenant''s subscription.';
