CREATE FUNCTION boxoffice.confirm(booking uuid, payment_ref text, user_id text DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.confirm IS
'A booking is paid: reserved or payment_pending becomes confirmed, whatever the clock says. One that has expired takes the same places again if they are free, and becomes payment_orphaned, with a refund due, if they are not; likewise one that was cancelled. A call that repeats the payment_ref returns the booking as it is. user_id: whose booking it must be; null: anybody''s. Event booking.confirmed or booking.payment_orphaned. Errors: US038 unknown_booking, US037 wrong_state, US018 invalid_argument.';
