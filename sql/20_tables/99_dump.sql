-- What pg_dump carries. Partitions of the log are ordinary tables that depend on usher.log; it dumps them by itself.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relnamespace IN ('usher'::regnamespace, 'boxoffice'::regnamespace) AND c.relkind IN ('r', 'S') AND c.relname NOT IN ('removal_requests', 'tickets')
        ORDER BY c.relname
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(relation, '');
    END LOOP;
END
$$;
