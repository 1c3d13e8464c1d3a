CREATE FUNCTION usher.series_list()
RETURNS TABLE (source text, type text, published bigint, completed bigint, retried bigint, failed bigint, durations bigint[], seconds double precision)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_series_list';
COMMENT ON FUNCTION usher.series_list IS
'Internal, for usher.metrics: what was counted by tenant, source and type since the server started, the tenants'' rows one after the other. durations: events by how long they took, in the buckets of usher.duration_bounds.';
