CREATE FUNCTION boxoffice.pending(user_id text)
RETURNS SETOF boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_read';
COMMENT ON FUNCTION boxoffice.pending IS
'Bookings of a user that wait to be paid (reserved, payment_pending), oldest first.';
