CREATE FUNCTION usher.metrics_since()
RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_metrics_since_fn';
COMMENT ON FUNCTION usher.metrics_since IS 'Since when counters count: the last start of the server, or its restart after a crash.';
