CREATE FUNCTION usher.verify_run(sink_id integer, name text, from_position bigint, to_position bigint)
RETURNS TABLE (problem text, "position" bigint, topic text, detail text)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_verify_run';
COMMENT ON FUNCTION usher.verify_run IS 'Internal, for usher.verify_sink.';
