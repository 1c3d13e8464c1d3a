CREATE FUNCTION boxoffice.availability(show bigint)
RETURNS TABLE (zone_id bigint, name text, capacity bigint, free bigint, numbered boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_read';
COMMENT ON FUNCTION boxoffice.availability IS
'Zones of a show, and how many places of each are free now (places that open transactions have taken are not). On a standby, and of zones that nobody has asked for since the server started, by the rows of bookings. Error: US034 unknown_show.';
