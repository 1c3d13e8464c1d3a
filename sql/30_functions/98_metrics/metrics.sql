CREATE FUNCTION usher.metrics()
RETURNS TABLE (name text, type text, help text, labels jsonb, value double precision)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM usher.log_metrics()
    UNION ALL SELECT * FROM usher.sink_metrics()
    UNION ALL SELECT * FROM usher.subscription_metrics()
    UNION ALL SELECT * FROM usher.event_metrics()
    ORDER BY 1, 4
$$;
COMMENT ON FUNCTION usher.metrics IS
'Every metric of this database, of all tenants, with the names, types (counter, gauge, histogram) and labels of Prometheus; rows of one name follow each other. Counters begin at zero when the server starts. Sources and types beyond usher.metric_series are counted as "other". For usher_admin and pg_monitor; a tenant''s own numbers: usher.event_stats.';
