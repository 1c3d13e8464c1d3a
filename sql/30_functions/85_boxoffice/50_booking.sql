CREATE FUNCTION boxoffice.booking(booking uuid, user_id text DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_read';
COMMENT ON FUNCTION boxoffice.booking IS
'A booking. user_id: whose it must be; null: anybody''s. Error: US038 unknown_booking.';
