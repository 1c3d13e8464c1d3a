CREATE FUNCTION usher.drop_expired_keys()
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '50ms'
AS $$
DECLARE
    day     constant numeric := 86400;
    margin  constant numeric := 3600;       -- for clocks that are set back
    now     constant numeric := extract(epoch FROM clock_timestamp());
    t       text;
    left_over integer := 0;
BEGIN
    FOR slot IN 0 .. 9 LOOP
        t := 'usher.idempotency_keys_' || slot;
        CONTINUE WHEN EXISTS (SELECT FROM generate_series(floor((now - margin) / day), floor((now + margin) / day) + 7) d WHERE d % 10 = slot)
            OR pg_relation_size(t::regclass) = 0;
        BEGIN
            EXECUTE format('TRUNCATE ONLY %s', t);
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            left_over := left_over + 1;
        END;
    END LOOP;
    RETURN left_over;
END
$$;
COMMENT ON FUNCTION usher.drop_expired_keys IS
'Internal, for the housekeeping worker: empty the tables of idempotency keys whose day was over an hour ago. Waits at most 50 ms for a lock. Returns how many it could not lock.';
