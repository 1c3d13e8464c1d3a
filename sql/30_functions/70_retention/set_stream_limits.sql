CREATE FUNCTION usher.set_stream_limits(stream text, max_age interval DEFAULT NULL, max_count bigint DEFAULT NULL, truncate_before bigint DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT usher.check_name(set_stream_limits.stream, 'stream name');
    INSERT INTO usher.stream_limits (tenant_id, stream, max_age, max_count, truncate_before)
    VALUES (usher.current_tenant(), set_stream_limits.stream, set_stream_limits.max_age,
            set_stream_limits.max_count, set_stream_limits.truncate_before)
    ON CONFLICT (tenant_id, stream) DO UPDATE
        SET max_age = EXCLUDED.max_age, max_count = EXCLUDED.max_count, truncate_before = EXCLUDED.truncate_before;
END;
COMMENT ON FUNCTION usher.set_stream_limits IS
'What stream and category reads hide of a stream: events older than max_age, all but the newest max_count, versions below truncate_before. Nulls switch each off. The log keeps them. Error: US006 invalid_name.';
