CREATE FUNCTION boxoffice.finish_refund(booking uuid, succeeded boolean)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.finish_refund IS
'A refund has arrived (refunded, nothing is due any more) or has failed (refund_failed: begin_refund tries again). Event booking.refunded or booking.refund_failed. Errors: US038 unknown_booking, US037 wrong_state, US018 invalid_argument.';
