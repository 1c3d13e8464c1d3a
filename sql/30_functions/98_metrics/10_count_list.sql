CREATE FUNCTION usher.count_list()
RETURNS TABLE (name text, value double precision)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_count_list';
COMMENT ON FUNCTION usher.count_list IS 'Internal, for usher.metrics: numbers of this database that are kept in shared memory.';
