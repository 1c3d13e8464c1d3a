CREATE FUNCTION usher.lease_held(subscription_id integer, lease bigint, partition integer)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_lease_held';
COMMENT ON FUNCTION usher.lease_held IS 'Internal, for usher.deliveries: is the partition of the subscription still under this lease?';
