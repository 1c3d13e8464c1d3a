CREATE FUNCTION usher.committed_position()
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_committed_position';
COMMENT ON FUNCTION usher.committed_position IS
'Wait until every position that has been given is decided, and return the last one: a stable position that includes all commits before the call.';
