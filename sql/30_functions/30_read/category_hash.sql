CREATE FUNCTION usher.category_hash(category text)
RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_category_hash_fn';
COMMENT ON FUNCTION usher.category_hash IS
'Hash by which the log finds a category. Queries of usher.log need both: category_hash = usher.category_hash(''order'') AND category = ''order''.';
