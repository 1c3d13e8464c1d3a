CREATE FUNCTION usher.last_position()
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_last_position';
COMMENT ON FUNCTION usher.last_position IS
'Position of the last event of this session''s last committed append; null before the first. Waiting until it is stable elsewhere reads your own writes.';
