CREATE FUNCTION usher.read_category(category text, after bigint DEFAULT 0, max integer DEFAULT 1000)
RETURNS setof usher.event
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'usher_read_category_srf';
COMMENT ON FUNCTION usher.read_category IS
'Events of all streams of a category (order-42 belongs to order) with position > after, at most max, in order of position, never past the stable position. Follow it with the position of the last row. Errors: US004 position_gone, US012 isolation_level.';
