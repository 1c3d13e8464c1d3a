CREATE FUNCTION boxoffice.begin_payment(booking uuid, provider_ref text, user_id text DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.begin_payment IS
'A payment of a reserved booking begins: it becomes payment_pending, and keeps its places for boxoffice.payment_timeout from now, once. A call that repeats the provider_ref returns the booking as it is. user_id: whose it must be; null: anybody''s. Event booking.payment_pending. Errors: US038 unknown_booking, US036 booking_expired, US037 wrong_state, US018 invalid_argument.';
