CREATE FUNCTION boxoffice.publish_event(event bigint)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.publish_event IS
'Sell a draft from now on, or from the begin of its sale window. Event event.published. Errors: US034 unknown_show, US037 wrong_state.';
