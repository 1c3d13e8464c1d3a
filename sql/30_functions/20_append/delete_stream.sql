CREATE FUNCTION usher.delete_stream(stream text, expected_version bigint DEFAULT NULL, reusable boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_delete_stream';
COMMENT ON FUNCTION usher.delete_stream IS
'Delete a stream: appends the tombstone usher.stream_deleted and returns its version. Stream and category reads hide what is before it; usher.read and the relays still see the log. Later appends raise US002, unless reusable: then versions go on. expected_version as in usher.append. Errors: US001 also when the stream does not exist, US002 when it is deleted already.';
