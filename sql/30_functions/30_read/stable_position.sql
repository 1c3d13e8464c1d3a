CREATE FUNCTION usher.stable_position()
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_stable_position';
COMMENT ON FUNCTION usher.stable_position IS
'The stable position: no event at or below it will ever appear that is not visible to a snapshot taken after this call. Do not use it in the same statement as a query of the log, whose snapshot is older: read with usher.read.';
