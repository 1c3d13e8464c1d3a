CREATE FUNCTION usher.check_route(pattern text, topic text, key text, filter jsonb)
RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_check_route';
COMMENT ON FUNCTION usher.check_route IS
'Internal: raise US018 or US006 unless a route may have this pattern, topic, key and filter.';
