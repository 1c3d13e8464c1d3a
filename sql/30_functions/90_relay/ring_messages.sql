CREATE FUNCTION usher.ring_messages(sink_id integer, topic text, after bigint, max integer)
RETURNS TABLE (number bigint, "position" bigint, topic_name text, key text, headers text, body text, added_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_ring_messages';
COMMENT ON FUNCTION usher.ring_messages IS 'Internal, for usher.memory_messages.';
