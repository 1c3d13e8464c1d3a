CREATE FUNCTION boxoffice.cancel_event(event bigint, reason text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.cancel_event IS
'Cancel an event. Once this has committed nothing of it is sold or confirmed; its bookings are cancelled in batches by the worker of the box office, and what was paid is due. Event event.cancelled. Errors: US034 unknown_show, US037 wrong_state.';
