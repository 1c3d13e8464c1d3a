CREATE FUNCTION boxoffice.cancel(booking uuid, reason text DEFAULT NULL, items integer[] DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.cancel IS
'Cancel a booking that is reserved, payment_pending or confirmed, or some of its items; the places are free once this commits. What was paid for is due to be refunded (refund_due). A booking that is cancelled is returned as it is. Event booking.cancelled or booking.items_cancelled. Errors: US038 unknown_booking, US036 booking_expired, US037 wrong_state, US018 invalid_argument.';
