CREATE FUNCTION usher.committed_range(OUT first bigint, OUT last bigint)
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_committed_range';
COMMENT ON FUNCTION usher.committed_range IS
'Positions of the first and the last event of this session''s last committed append, which has all positions between; nulls before the first.';
