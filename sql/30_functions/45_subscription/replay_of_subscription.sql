CREATE FUNCTION usher.replay_of_subscription(subscription_id integer, filter jsonb)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_replay_of_subscription';
COMMENT ON FUNCTION usher.replay_of_subscription IS
'Internal, for usher.replay_subscription_dead_letters: as the owner of the tables, for a subscription of the session''s tenant.';
