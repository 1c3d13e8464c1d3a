CREATE FUNCTION usher.relay_list()
RETURNS TABLE (sink_id integer, lane integer, replay_id bigint, pid integer, state text, breaker text,
               "position" bigint, in_flight integer, rate double precision, delivered bigint, duplicates bigint,
               retried bigint, dead bigint, unmatched bigint, next_try_at timestamptz,
               last_error_at timestamptz, last_error text)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_relay_list';
COMMENT ON FUNCTION usher.relay_list IS
'Internal, for usher.sink_status: what the relay workers of this database tell in shared memory; counters since the server started.';
