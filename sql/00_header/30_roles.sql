-- Roles belong to the cluster: they may exist already, and DROP EXTENSION leaves them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['usher_reader', 'usher_writer', 'usher_admin', 'usher_gateway'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
    GRANT usher_reader TO usher_writer;
    GRANT usher_writer TO usher_admin;
END
$$;
