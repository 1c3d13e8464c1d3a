CREATE FUNCTION boxoffice.reserve(show bigint, zone bigint, user_id text, quantity integer, seats text[] DEFAULT NULL, idempotency_key text DEFAULT NULL, ttl interval DEFAULT '10 minutes', price_type bigint DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_reserve';
COMMENT ON FUNCTION boxoffice.reserve IS
'Hold places of a zone of a show for a user, for ttl (at most boxoffice.max_hold), and return the booking, which is reserved. seats: labels of a numbered zone, as many as quantity; null: the best ones beside each other. idempotency_key: a call that repeats one with the same key (unique per tenant and user) returns its booking as it is now. price_type null: the first of the zone. Event booking.reserved on stream booking-<id>. Errors: US030 sold_out, US031 user_limit, US032 sale_closed, US033 seat_taken, US034 unknown_show, US035 quantity, US039 hold_abuse, US025 idempotency_conflict, US012 isolation_level, US040 zone_slots, US018 invalid_argument, US006 invalid_name.';
