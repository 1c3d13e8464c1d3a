CREATE FUNCTION boxoffice.begin_refund(booking uuid)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.begin_refund IS
'Money that is due for a booking that is cancelled or payment_orphaned, or whose refund failed, is on its way back: refund_pending. Event booking.refund_pending. Errors: US038 unknown_booking, US037 wrong_state (also when nothing is due).';
