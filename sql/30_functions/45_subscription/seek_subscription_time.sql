CREATE FUNCTION usher.seek_subscription_time(name text, at timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low  bigint := usher.oldest_position() - 1;
    high bigint := usher.stable_position();
    mid  bigint;
    seen timestamptz;
    at_position bigint;
BEGIN
    IF at IS NULL THEN
        RAISE EXCEPTION 'the time is null' USING ERRCODE = 'US018';
    END IF;
    -- recorded_at never runs backwards by position: halve until the last event before the time is found.
    WHILE low < high LOOP
        mid := low + (high - low) / 2;
        SELECT l.recorded_at, l.position INTO seen, at_position FROM usher.log l
        WHERE l.position > mid ORDER BY l.position LIMIT 1;
        IF NOT FOUND OR seen >= at THEN
            high := mid;
        ELSE
            low := at_position;
        END IF;
    END LOOP;
    PERFORM usher.seek_subscription(seek_subscription_time.name, low);
    RETURN low;
END
$$;
COMMENT ON FUNCTION usher.seek_subscription_time IS
'Go on with the first event recorded at or after a time; returns the position behind which the subscription goes on. As usher.seek_subscription otherwise.';
