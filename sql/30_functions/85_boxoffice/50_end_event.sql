CREATE FUNCTION boxoffice.end_event(event bigint)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.end_event IS
'A published event is over: nothing of it is sold any more, bookings stay. Event event.ended. Errors: US034 unknown_show, US037 wrong_state.';
