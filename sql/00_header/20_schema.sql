CREATE SCHEMA usher;
COMMENT ON SCHEMA usher IS 'pg_usher: the event log of this database and the functions over it';
CREATE SCHEMA boxoffice;
COMMENT ON SCHEMA boxoffice IS 'pg_usher: the box office: events, shows, zones, seats, bookings, and the functions that sell them';
