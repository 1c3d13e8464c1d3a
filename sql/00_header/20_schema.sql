CREATE SCHEMA usher;
COMMENT ON SCHEMA usher IS 'pg_usher: the event log of this database and the functions over it';
