-- The library must be preloaded: its shared memory and its commit callback exist from the start or not at all.
DO $$
BEGIN
    IF current_setting('usher.max_databases', true) IS NULL THEN
        RAISE EXCEPTION 'pg_usher must be loaded through shared_preload_libraries'
            USING ERRCODE = 'US015',
                  HINT = 'Set shared_preload_libraries = ''pg_usher'' (first in the list) in postgresql.conf and restart the server.';
    END IF;
END
$$;
