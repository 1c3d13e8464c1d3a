CREATE FUNCTION usher.event_stats(OUT published bigint, OUT processed bigint, OUT retried bigint, OUT failed bigint, OUT queue_size bigint,
                                  OUT workers_active integer, OUT processing_ms double precision, OUT since timestamptz)
RETURNS record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds double precision;
    timed   bigint;
BEGIN
    SELECT coalesce(sum(s.published), 0), coalesce(sum(s.completed), 0), coalesce(sum(s.retried), 0), coalesce(sum(s.failed), 0),
           sum(s.seconds), sum((SELECT sum(d) FROM unnest(s.durations) d))
    INTO published, processed, retried, failed, seconds, timed
    FROM usher.own_series() s;
    processing_ms := 1000 * seconds / nullif(timed, 0);
    SELECT count(*) INTO queue_size FROM usher.deliveries d WHERE d.status IN ('pending', 'processing');
    SELECT count(DISTINCT s.lease) INTO workers_active FROM usher.subscription_status s;
    since := usher.metrics_since();
END
$$;
COMMENT ON FUNCTION usher.event_stats IS
'The session''s tenant as an event broker would see it. published: events committed; processed: deliveries acknowledged; retried: deliveries that failed and are tried again; failed: that became dead letters; processing_ms: average time of those that were timed, null if none; all four since `since`, the start of the server. queue_size: pending and processing deliveries of all subscriptions now (reads the log behind the slowest partition); workers_active: leases that are out.';
