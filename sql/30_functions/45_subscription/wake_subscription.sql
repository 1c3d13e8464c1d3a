CREATE FUNCTION usher.wake_subscription(subscription_id integer)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_wake_subscription';
COMMENT ON FUNCTION usher.wake_subscription IS
'Internal: once this transaction has committed, those who wait for deliveries of the subscription look again.';
