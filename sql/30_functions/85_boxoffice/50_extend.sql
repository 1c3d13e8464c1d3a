CREATE FUNCTION boxoffice.extend(booking uuid, more interval, user_id text DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.extend IS
'Hold the places of a reserved booking for longer, by an interval, but not longer than boxoffice.max_hold since it was made. user_id: whose it must be; null: anybody''s. Event booking.extended. Errors: US038 unknown_booking, US036 booking_expired, US037 wrong_state, US018 invalid_argument.';
