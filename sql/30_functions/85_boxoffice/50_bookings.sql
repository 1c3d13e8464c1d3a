CREATE FUNCTION boxoffice.bookings(user_id text, status text DEFAULT NULL, after uuid DEFAULT NULL, max integer DEFAULT 100)
RETURNS SETOF boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_read';
COMMENT ON FUNCTION boxoffice.bookings IS
'Bookings of a user, oldest first; status null: of every status. after: the last booking_id of the page before; max: 1 to 1000. Error: US018 invalid_argument.';
