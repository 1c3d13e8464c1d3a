CREATE FUNCTION usher.stream_version(stream text)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_stream_version';
COMMENT ON FUNCTION usher.stream_version IS
'Version of the newest event of a stream, this transaction''s pending ones included; 0 when the stream does not exist.';
