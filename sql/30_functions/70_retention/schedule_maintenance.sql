CREATE FUNCTION usher.schedule_maintenance(schedule text DEFAULT '17 * * * *')
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regprocedure('cron.schedule(text, text, text)') IS NULL THEN
        RAISE EXCEPTION 'pg_cron is not installed in this database'
            USING ERRCODE = '55000',
                  HINT = 'CREATE EXTENSION pg_cron in the database that cron.database_name names, or call usher.apply_retention() from elsewhere.';
    END IF;
    RETURN cron.schedule('usher maintenance', schedule_maintenance.schedule, 'SELECT usher.apply_retention()');
END
$$;
COMMENT ON FUNCTION usher.schedule_maintenance IS
'Have pg_cron call usher.apply_retention() on a schedule (default: hourly); returns the job''s id. Calling it again changes the schedule.';
