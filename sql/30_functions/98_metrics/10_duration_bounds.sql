CREATE FUNCTION usher.duration_bounds()
RETURNS double precision[]
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_duration_bounds';
COMMENT ON FUNCTION usher.duration_bounds IS 'Upper bounds in seconds of the buckets in which processing times are counted; the last bucket has none.';
