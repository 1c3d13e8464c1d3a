CREATE FUNCTION usher.oldest_position(category text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_oldest_position_fn';
COMMENT ON FUNCTION usher.oldest_position IS
'The oldest position from which on nothing has been removed, of the whole log or of a category; start a cursor at this minus 1.';
