CREATE FUNCTION usher.own_series()
RETURNS TABLE (source text, type text, published bigint, completed bigint, retried bigint, failed bigint, durations bigint[], seconds double precision)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_own_series';
COMMENT ON FUNCTION usher.own_series IS 'Internal, for usher.event_stats: usher.series_list of the session''s tenant.';
