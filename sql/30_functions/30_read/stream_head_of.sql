CREATE FUNCTION usher.stream_head_of(tenant_id integer, stream text)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_stream_head_of';
COMMENT ON FUNCTION usher.stream_head_of IS
'Internal: head version of a stream of any tenant, for the view usher.streams.';
