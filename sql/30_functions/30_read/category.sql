CREATE FUNCTION usher.category(stream text)
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_category';
COMMENT ON FUNCTION usher.category IS
'Category of a stream: its name up to the first dash (order of order-42), or the whole name.';
