CREATE FUNCTION usher.call_archive(archive regprocedure, from_position bigint, to_position bigint)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_call_archive';
COMMENT ON FUNCTION usher.call_archive IS
'Internal: call the archive hook for the positions from_position to to_position, as its owner.';
